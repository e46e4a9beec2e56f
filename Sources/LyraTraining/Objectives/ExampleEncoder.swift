import LyraBase
import LyraMedia
import LyraModel
import LyraTensor

/// Encodes the media and the texts of examples with a checkpoint's networks.
struct ExampleEncoder {
    let checkpoint: Checkpoint
    /// The adapter of texts and speech; nil for none.
    let adapter: Int?
    /// Whether gradients should reach a tower.
    let trainsSpeechTower: Bool
    let trainsVisionTower: Bool
    /// Whether trained towers keep only their layers' inputs until the gradient is computed.
    let recomputesLayers: Bool

    /// The rows of an example, recorded for the gradients of what is trained.
    func rows(of example: TrainingExample) throws -> ExampleRows {
        var firstSpeech: Tensor?
        let stretches = try example.pieces.map { piece -> ExampleStretch in
            try Interruption.check()
            switch piece {
            case .prompt(let ids): return .prompt(ids)
            case .answer(let ids): return .answer(ids)
            case .vision(let patches):
                let grid = patches.grid, merge = try checkpoint.visionNetworks.get().encoder.configuration.merge
                return .media(
                    try encode(patches),
                    .grid(time: grid.time, height: grid.height / merge, width: grid.width / merge))
            case .speech(let windows):
                let rows = try encode(speech: windows)
                if firstSpeech == nil { firstSpeech = rows }
                return .media(rows, .sequence)
            case .sound(let clips): return .media(try encode(sound: clips), .sequence)
            }
        }
        return try ExampleRows(
            stretches, speech: firstSpeech, transcript: example.transcript, decoder: checkpoint.decoder,
            adapter: adapter)
    }

    private func encode(_ patches: PatchGrid) throws -> Tensor {
        let encoder = try checkpoint.visionNetworks.get().encoder
        return try recorded(trainsVisionTower) {
            try encoder(
                patches: patches.patches, grid: patches.grid, recomputesLayers: trainsVisionTower && recomputesLayers)
        }
    }

    private func encode(speech windows: [Tensor]) throws -> Tensor {
        let networks = try checkpoint.speechNetworks.get()
        return try .stacking(
            windows.map { mel in
                let encoded = try recorded(trainsSpeechTower) {
                    try networks.encoder(mel: mel, recomputesLayers: trainsSpeechTower && recomputesLayers)
                }
                return try networks.project(encoded, adapter: adapter)
            })
    }

    private func encode(sound clips: [Tensor]) throws -> Tensor {
        let networks = try checkpoint.soundNetworks.get()
        let shape = clips.first?.shape ?? []
        let stacked = try Tensor.stacking(clips).reshaped([clips.count] + shape)
        return try networks.project(networks.encoder(clips: stacked))
    }

    private func recorded(_ isTrained: Bool, _ body: () throws -> Tensor) throws -> Tensor {
        isTrained ? try body() : try Recording.paused(body)
    }

    // MARK: Checks

    /// - Throws: `LyraError`, naming the example and the reason, if it cannot be used with this checkpoint.
    func check(_ example: TrainingExample, prunesMedia: Bool) throws {
        let outlines = try example.pieces.map { piece -> ExampleCheck.Outline in
            switch piece {
            case .prompt(let ids): return .prompt(ids)
            case .answer(let ids): return .answer(ids)
            case .vision, .speech, .sound:
                do { return .media(try mediaTokens(piece)) } catch let error as LyraError {
                    throw LyraError(error.code, "\(example.origin): \(error.message)")
                }
            }
        }
        try ExampleCheck(
            vocabularySize: checkpoint.configuration.language.vocabularySize, prunesMedia: prunesMedia)(
                outlines, transcript: example.transcript, origin: example.origin)
    }

    /// Number of tokens of a medium.
    ///
    /// - Throws: `LyraError` if the checkpoint has no network for it, or if it is empty.
    private func mediaTokens(_ piece: TrainingExample.Piece) throws -> Int {
        func notEmpty(_ count: Int, _ name: String) throws -> Int {
            guard count > 0 else { throw LyraError(.argument, "the \(name) has no tokens") }
            return count
        }
        switch piece {
        case .prompt(let ids), .answer(let ids): return ids.count
        case .vision(let patches):
            let merge = try checkpoint.visionNetworks.get().encoder.configuration.merge
            return try notEmpty(patches.patches.rows / (merge * merge), "image or video")
        case .speech(let windows):
            let perWindow = try checkpoint.speechNetworks.get().windowTokens
            return try notEmpty(windows.count.saturatingMultiplying(by: perWindow), "speech")
        case .sound(let clips):
            _ = try checkpoint.soundNetworks.get()
            return try notEmpty(clips.count, "sound")
        }
    }
}
