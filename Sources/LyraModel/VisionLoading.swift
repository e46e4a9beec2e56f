import LyraFormats
import LyraMedia
import LyraTensor

/// Sight: the vision tower and how pictures are prepared for it.
extension CheckpointLoader {
    func openVisionInput(
        _ main: TensorTable, _ configuration: LyraConfiguration
    ) throws -> Checkpoint.Part<VisionInput> {
        guard let name = configuration.visionTower else {
            return .absent(
                LyraError(.missing, "\(directory): this model does not see: config.json has no mm_vision_tower"))
        }
        let folder = finder.directory(name)
        let inside = main.subtable(under: ["model.vision_tower.vision_tower."], holding: "patch_embed.proj.weight")
        let outside = try inside == nil ? folder.map { try visionTable($0) } : nil
        guard let tower = inside ?? outside else {
            return absent(
                "the vision tower \(name) is neither in the checkpoint nor at "
                    + finder.candidates(name).joined(separator: ", ") + "; pass the directory that holds the towers")
        }
        let vision: VisionConfiguration
        do {
            vision = try visionConfiguration(folder, tower)
        } catch let error as LyraError where folder == nil {
            return absent(
                "\(error.message): \(name) was looked for at " + finder.candidates(name).joined(separator: ", "))
        }
        let hidden = configuration.language.hiddenSize
        guard vision.outputWidth == hidden else {
            throw LyraError(
                .format,
                "\(tower.origin): a vision tower of hidden_size \(vision.outputWidth) does not fit a language model of \(hidden)"
            )
        }
        return .present(
            VisionInput(
                preparation: try imagePreparation(folder, tower, vision),
                encoder: try VisionEncoder(tower, vision, progress: {})))
    }

    private func visionTable(_ folder: String) throws -> TensorTable {
        let table = table(folder, try ShardedSafetensors(directory: folder).tensors)
        let prefixes = ["", "visual.", "model.visual.", "vision_tower."]
        guard let tower = table.subtable(under: prefixes, holding: "patch_embed.proj.weight") else {
            throw LyraError(
                .format, "\(folder): there is no tensor patch_embed.proj.weight; is it Qwen2-VL's vision tower?")
        }
        record("vision tower", folder, tower.all)
        return tower
    }

    /// Read from the tower's directory; where that is not there, derived from the shapes of the tensors.
    private func visionConfiguration(_ folder: String?, _ tower: TensorTable) throws -> VisionConfiguration {
        guard let folder else {
            let vision = try VisionConfiguration(shapesOf: tower)
            options.note(
                "\(directory): the vision tower's config.json was not found; heads of 80 and the usual preparation are assumed"
            )
            return vision
        }
        let file = FileSystem.join(folder, "config.json")
        let vision = try JSONFile.decode(VisionConfiguration.self, path: file)
        try vision.validate(file)
        return vision
    }

    /// From the tower's preprocessor_config.json, if it has one; it must agree with the tower.
    private func imagePreparation(
        _ folder: String?, _ tower: TensorTable, _ vision: VisionConfiguration
    ) throws -> ImagePreparation {
        let file = folder.map { FileSystem.join($0, "preprocessor_config.json") }
        var images = ImageConfiguration()
        if let file, FileSystem.isFile(file) {
            images = try JSONFile.decode(ImageConfiguration.self, path: file)
            try images.validate(file)
        }
        guard images.patch == vision.patch, images.temporalPatch == vision.temporalPatch, images.merge == vision.merge
        else {
            throw LyraError(
                .format,
                "\(file ?? tower.origin): patches of \(images.patch) pixels, \(images.temporalPatch) frames and merge "
                    + "\(images.merge), but the tower takes \(vision.patch), \(vision.temporalPatch) and \(vision.merge)"
            )
        }
        return ImagePreparation(images)
    }
}
