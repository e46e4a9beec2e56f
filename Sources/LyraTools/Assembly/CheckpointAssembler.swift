import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Makes a Lyra checkpoint of the open parts that Lyra builds on: Qwen2-VL, Whisper, vocoder, projectors, adapters.
///
/// Weights are linked where the file system allows, and texts are copied. The directory appears when it is complete,
/// and opens as a checkpoint.
public struct CheckpointAssembler {
    /// What an assembly did.
    public struct Summary: Sendable, Equatable {
        /// Bytes of weights that are linked, copied, and written anew.
        public var linkedBytes = 0
        public var copiedBytes = 0
        public var writtenBytes = 0
    }

    private let parts: AssemblyParts
    private let seed: UInt64
    private let copies: Bool
    private let note: (String) -> Void
    private let check: () throws -> Void

    /// - Parameters:
    ///   - seed: of a fresh speech projector
    ///   - copies: whether weights are copied instead of linked
    ///   - note: receives a message for each part that the checkpoint lacks, and about what was made in its place
    ///   - check: called between pieces of the work; throws to give up
    public init(
        _ parts: AssemblyParts, seed: UInt64 = 1, copies: Bool = false, note: @escaping (String) -> Void = { _ in },
        check: @escaping () throws -> Void = {}
    ) {
        (self.parts, self.seed, self.copies, self.note, self.check) = (parts, seed, copies, note, check)
    }

    /// Makes the checkpoint.
    ///
    /// - Parameter path: a directory to create, or an empty one
    /// - Throws: `LyraError` that names the part and the reason, if the parts do not belong together or a part is
    ///   damaged; `.io` if something cannot be written, or `path` is occupied; what `check` throws. Nothing remains at
    ///   `path` after an error.
    public func write(to path: String) throws -> Summary {
        let language = try LanguagePart(parts.languageModel, check: check)
        let directory = try OutputDirectory(path: path)
        do {
            var work = Work(directory: directory, copies: copies, check: check)
            let configuration = try place(language, &work)
            try directory.put("config.json", ExactJSON.text(configuration.json(language)))
            try verify(directory, configuration)
            try check()
            try directory.commit()
            for note in configuration.notes(seed: seed) { self.note(note) }
            return work.summary
        } catch {
            directory.discard()
            guard let error = error as? LyraError else { throw error }
            throw LyraError(error.code, directory.explaining(error.message))
        }
    }

    /// Puts all files but config.json in their places.
    private func place(_ language: LanguagePart, _ work: inout Work) throws -> AssembledConfiguration {
        var configuration = AssembledConfiguration()
        configuration.addedTokens = try language.tokenizerWriter.write(into: work.directory)
        let generation = "generation_config.json"
        if try FileSystem.isFile(language.path(generation)) {
            try work.directory.copy(text: language.path(generation), as: generation)
        }
        var index = ShardIndex()
        try placeVision(language, &configuration, &work)
        try placeSpeech(language, &configuration, &index, &work)
        try placeSound(language, &configuration, &index, &work)
        if let vocoder = parts.vocoder {
            let file = try LonePart.vocoder(vocoder)
            let folder = "model_zoo/audio/vocoder", beside = FileSystem.parent(of: file)
            try work.directory.copy(text: FileSystem.join(beside, "config.json"), as: folder + "/config.json")
            try work.place(file, in: folder)
            configuration.hasVocoder = true
        }
        for adapter in parts.adapters { configuration.adapters.append(try work.placeAdapter(adapter)) }
        // Last, because they are large.
        try index.addShards(of: language, withVision: parts.visionTower == nil, &work)
        try work.directory.put("model.safetensors.index.json", index.text())
        return configuration
    }

    // MARK: Vision

    /// A given tower with its texts, or the texts of the tower inside the language model's checkpoint.
    private func placeVision(
        _ language: LanguagePart, _ configuration: inout AssembledConfiguration, _ work: inout Work
    ) throws {
        let folder = AssembledConfiguration.visionTower
        if let tower = parts.visionTower {
            let vision = try LonePart.visionTower(tower)
            guard vision.outputWidth == language.configuration.hiddenSize else {
                throw LyraError(
                    .format,
                    "\(tower): a vision tower of hidden_size \(vision.outputWidth) does not fit the language model "
                        + "\(language.directory) of hidden_size \(language.configuration.hiddenSize)")
            }
            try work.placeTower(tower, in: folder)
            configuration.hasVision = true
        } else if language.sees {
            try work.directory.put(folder + "/config.json", ExactJSON.text(language.visionConfiguration()))
            for name in ["preprocessor_config.json", "processor_config.json"]
            where try FileSystem.isFile(language.path(name)) {
                try work.directory.copy(text: language.path(name), as: folder + "/" + name)
            }
            configuration.hasVision = true
        }
    }

    // MARK: Speech

    private func placeSpeech(
        _ language: LanguagePart, _ configuration: inout AssembledConfiguration, _ index: inout ShardIndex,
        _ work: inout Work
    ) throws {
        guard let tower = parts.speechTower else {
            if let projector = parts.speechProjector {
                throw LyraError(.argument, "\(projector): a speech projector needs a speech tower; name one")
            }
            return
        }
        configuration.normalizesSpeech = parts.normalizesSpeech
        let whisper = try LonePart.speechTower(tower)
        try work.placeTower(tower, in: AssembledConfiguration.speechTower)
        let shard = "speech_projector.safetensors"
        let hidden = language.configuration.hiddenSize
        if let file = parts.speechProjector {
            let tensors = try LonePart.speechProjector(file)
            configuration.speech = .init(
                width: whisper.width, group: try Self.group(tensors, file, tower, width: whisper.width, hidden),
                inner: tensors["linear1.weight"]?.shape.first ?? SpeechProjector.publishedInner)
            try work.write(tensors, prefix: "model.mm_speech_projector.", shard, &index)
        } else {
            configuration.speech = .init(width: whisper.width, group: AssembledConfiguration.publishedGroup)
            configuration.hasFreshProjector = true
            let fresh = FreshProjector(
                seed: seed, width: whisper.width, group: AssembledConfiguration.publishedGroup, hidden: hidden)
            try work.write(fresh, prefix: "model.mm_speech_projector.", shard, &index)
        }
    }

    /// The number of positions that a projector concatenates to one token.
    ///
    /// - Throws: `LyraError.format`, naming both sides, if the projector does not fit the tower or the language model.
    private static func group(
        _ projector: [String: StoredTensor], _ file: String, _ tower: String, width: Int, _ hidden: Int
    ) throws -> Int {
        func shape(_ name: String) throws -> [Int] {
            guard let shape = projector[name]?.shape, shape.count == 2 else {
                throw LyraError(.format, "\(file): the speech projector has no matrix \(name)")
            }
            return shape
        }
        let (first, last) = (try shape("linear1.weight"), try shape("linear2.weight"))
        guard last[0] == hidden else {
            throw LyraError(
                .format,
                "\(file): the speech projector makes tokens of width \(last[0]), but the language model has "
                    + "hidden_size \(hidden)")
        }
        guard first[1] > 0, first[1] % width == 0 else {
            throw LyraError(
                .format,
                "\(file): the speech projector takes rows of \(first[1]), which is no multiple of the width \(width) "
                    + "of the speech tower \(tower)")
        }
        return first[1] / width
    }

    // MARK: Sound

    private func placeSound(
        _ language: LanguagePart, _ configuration: inout AssembledConfiguration, _ index: inout ShardIndex,
        _ work: inout Work
    ) throws {
        var width: Int?
        if let tower = parts.soundTower {
            width = try LonePart.soundTower(tower)
            let name = try work.place(tower, in: "model_zoo/audio")
            configuration.sound = .init(tower: name, width: width ?? 0)
        }
        guard let file = parts.soundProjector else { return }
        let tensors = try LonePart.soundProjector(file)
        let (inputs, outputs, kind) = try Self.soundShape(tensors, file)
        guard outputs == language.configuration.hiddenSize, width == nil || width == inputs else {
            let tower = width.map { ", the sound tower's vectors \($0)" } ?? ""
            throw LyraError(
                .format,
                "\(file): a sound projector from \(inputs) to \(outputs) does not fit: the language model's "
                    + "hidden_size is \(language.configuration.hiddenSize)\(tower)")
        }
        configuration.soundProjectorKind = kind
        try work.write(tensors, prefix: "model.mm_audio_projector.", "sound_projector.safetensors", &index)
    }

    /// Widths of a sound projector, and its kind as config.json calls it.
    private static func soundShape(
        _ projector: [String: StoredTensor], _ file: String
    ) throws -> (inputs: Int, outputs: Int, kind: String) {
        let names = (0..<64).map { "\(2 * $0).weight" }.prefix { projector[$0] != nil }
        let kind = projector["weight"] == nil ? "mlp\(names.count)x_gelu" : "linear"
        let whole = projector["weight"]
        let ends = [whole ?? projector["0.weight"], whole ?? names.last.flatMap { projector[$0] }]
        guard let first = ends[0]?.shape, let last = ends[1]?.shape, first.count == 2, last.count == 2 else {
            throw LyraError(.format, "\(file): the weights of the sound projector are no matrices")
        }
        return (first[1], last[0], kind)
    }

    // MARK: Checking

    /// Opens the directory as a checkpoint, which checks every part against the others.
    private func verify(_ directory: OutputDirectory, _ configuration: AssembledConfiguration) throws {
        var options = CheckpointOptions()
        options.progress = { _, _ in try check() }
        let checkpoint = try Checkpoint.open(directory.temporary, options: options)
        if configuration.hasVision { _ = try checkpoint.visionNetworks.get() }
        if configuration.speech != nil { _ = try checkpoint.speechNetworks.get() }
        if configuration.sound != nil, configuration.soundProjectorKind != nil {
            _ = try checkpoint.soundNetworks.get()
        }
    }
}
