import LyraFormats
import LyraMedia
import LyraBase

/// Loads ImageBind's audio branch and the sound projector, which the published checkpoints do not include.
extension CheckpointLoader {
    /// Default location of the tower, if config.json does not name one.
    private static let usualTower = "model_zoo/audio/imagebind_huge.pth"

    func openSoundNetworks(_ main: TensorTable, _ configuration: LyraConfiguration) throws
        -> Checkpoint.Part<SoundNetworks>
    {
        let name = configuration.soundTower ?? Self.usualTower
        guard let projectorTable = try soundProjectorTable(main) else {
            let reason =
                "\(origin): this model takes no sound other than speech: it has no sound projector "
                + "(mm_audio_projector); pass a file that holds one"
            if configuration.soundTower != nil { options.note(reason) }
            return .absent(LyraError(.missing, reason))
        }
        keep(.soundProjector, projectorTable)
        let found = try source.tower(.soundTower, name, isInside: false)
        guard let files = found.tensors else {
            return absent(
                "the sound tower \(shown(name)) was not found at \(found.places); pass the directory that holds the "
                    + "towers"
            )
        }
        let audio = try tensors(files).filter { $0.key.contains(".audio.") }
        record("sound tower", files.origin, Array(audio.values))
        let tower = table(files.origin, audio)
        keep(.soundTower, tower)
        let encoder = try SoundEncoder(tower, clipShape: SoundClips.shape, progress: check)
        let projector = try SoundProjector(
            projectorTable, inputs: encoder.outputWidth, outputs: configuration.language.hiddenSize)
        return .present(SoundNetworks(encoder: encoder, projector: projector))
    }

    /// The caller's projector, or else the checkpoint's own.
    private func soundProjectorTable(_ main: TensorTable) throws -> TensorTable? {
        guard let file = options.soundProjector else { return main.soundProjector(isAlone: false) }
        let tensors = try LonePart.tensors(file)
        noteRead(tensors)
        guard let found = table(file, tensors).soundProjector() else {
            throw LyraError(
                .missing, "\(file): there is no sound projector; expected a tensor mm_audio_projector.weight")
        }
        record("sound projector", file, found.all)
        return found
    }
}

extension TensorTable {
    /// The tensors of a sound projector, `weight` or `0.weight` and the others; nil if there are none.
    ///
    /// - Parameter isAlone: whether the names can lack a prefix, because nothing else is in the file
    func soundProjector(isAlone: Bool = true) -> TensorTable? {
        let prefixes =
            ["model.", "model.model.", "base_model.model.model.", ""].map { $0 + "mm_audio_projector." }
            + (isAlone ? ["model.", ""] : [])
        return subtable(under: prefixes, holding: "weight") ?? subtable(under: prefixes, holding: "0.weight")
    }
}
