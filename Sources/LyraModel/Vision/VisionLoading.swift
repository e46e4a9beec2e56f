import LyraFormats
import LyraMedia
import LyraBase

/// Loads the vision tower and the image preparation.
extension CheckpointLoader {
    func openVisionNetworks(
        _ main: TensorTable, _ configuration: LyraConfiguration
    ) throws -> Checkpoint.Part<VisionNetworks> {
        guard let name = configuration.visionTower else {
            return absentByConfiguration("takes no images", "mm_vision_tower", configuration, part: "vision tower")
        }
        let inside = main.subtable(under: [ParameterNames.vision], holding: "patch_embed.proj.weight")
        let found = try source.tower(.visionTower, name, isInside: inside != nil)
        let outside = try inside == nil ? found.tensors.map { try visionTable($0) } : nil
        guard let tower = inside ?? outside else {
            guard name != LyraConfiguration.ownDirectory else {
                return absent(
                    "this model takes no images: config.json describes a vision tower, but the checkpoint has no tensors "
                        + "visual.…; pass the directory of the vision tower as the towers' directory")
            }
            return absent(
                "the vision tower \(shown(name)) is neither in the checkpoint nor at \(found.places); pass the "
                    + "directory that holds the towers"
            )
        }
        keep(.visionTower, tower)
        let vision: VisionConfiguration
        do {
            vision = try visionConfiguration(found.texts, tower)
        } catch let error as LyraError where found.texts == nil {
            return absent(error, name, found)
        }
        let hidden = configuration.language.hiddenSize
        guard vision.outputWidth == hidden else {
            throw LyraError(
                .format,
                "\(tower.origin): a vision tower of hidden_size \(vision.outputWidth) does not fit a language model of "
                    + "\(hidden)"
            )
        }
        return .present(
            VisionNetworks(
                preparation: try imagePreparation(found.texts, tower, vision),
                encoder: try VisionEncoder(trainable(tower, .visionTower), vision, progress: check)))
    }

    private func visionTable(_ files: any PartFiles) throws -> TensorTable {
        let table = table(files.origin, try tensors(files))
        let prefixes = ["", "visual.", "model.visual.", "vision_tower."]
        guard let tower = table.subtable(under: prefixes, holding: "patch_embed.proj.weight") else {
            throw LyraError(
                .format, "\(files.origin): there is no tensor patch_embed.proj.weight; is it Qwen2-VL's vision tower?")
        }
        record("vision tower", files.origin, tower.all)
        return tower
    }

    /// Read from the tower's texts, or derived from the tensor shapes if there are no texts.
    private func visionConfiguration(_ texts: (any PartFiles)?, _ tower: TensorTable) throws -> VisionConfiguration {
        guard let texts else {
            let vision = try VisionConfiguration(shapesOf: tower)
            options.note(
                "\(origin): the vision tower's config.json was not found; assuming heads 80 wide and the default image "
                    + "preparation"
            )
            return vision
        }
        let vision = try decode(
            VisionConfiguration.self, .visionTower, texts, "config.json", check: ConfigurationChecks.vision)
        try vision.validate(texts.path("config.json"))
        return vision
    }

    /// Read from the tower's preprocessor_config.json, or from the processor_config.json that transformers 5 writes in
    /// its place, if there is one; it must agree with the tower.
    private func imagePreparation(
        _ texts: (any PartFiles)?, _ tower: TensorTable, _ vision: VisionConfiguration
    ) throws -> ImagePreparation {
        var name = "preprocessor_config.json"
        var images = ImageConfiguration()
        if let texts, try texts.has(name) {
            images = try decode(ImageConfiguration.self, .visionTower, texts, name) {
                try KnownKeys.images.check($0, $1, note: $2)
            }
            try images.validate(texts.path(name))
        } else if let texts, try texts.has(ProcessorConfiguration.file) {
            name = ProcessorConfiguration.file
            images = try decode(
                ProcessorConfiguration.self, .visionTower, texts, name, check: ProcessorConfiguration.check
            ).images
            try images.validate(texts.path(name))
        }
        guard images.patch == vision.patch, images.temporalPatch == vision.temporalPatch, images.merge == vision.merge
        else {
            throw LyraError(
                .format,
                "\(texts?.path(name) ?? tower.origin): patches of \(images.patch) pixels, \(images.temporalPatch) "
                    + "frames and merge \(images.merge), but the tower takes "
                    + "\(vision.patch), \(vision.temporalPatch) and \(vision.merge)"
            )
        }
        return ImagePreparation(images)
    }
}

/// processor_config.json, in which transformers 5 keeps the settings of all of a model's media.
private struct ProcessorConfiguration: Decodable {
    static let file = "processor_config.json"

    private var image_processor: ImageConfiguration?

    var images: ImageConfiguration { image_processor ?? ImageConfiguration() }

    /// Checks the keys of the image settings; lyra reads no others.
    static func check(_ value: JSONValue, _ source: String, note: (String) -> Void) throws {
        guard let images = value["image_processor"] else { return }
        try KnownKeys.images.check(images, source, path: "image_processor.", note: note)
    }
}
