import LyraBase
import LyraFormats
import LyraMedia
import LyraModel
import LyraTensor

/// Features of speech, one row for each 20 ms: the time of one speech unit of the published vocoder (`code_hop_size` of
/// 320 samples at 16 kHz).
package final class SpeechFrames: Sendable {
    /// Samples of a frame, at 16 kHz.
    package static let samples = 320
    package static let sampleRate = 16_000
    /// Length of a frame in seconds.
    package static let seconds = Double(samples) / Double(sampleRate)

    /// What the features are.
    package enum Kind: Equatable, Sendable {
        /// Whisper's log-mel features: two columns of 10 ms side by side.
        case logMels(bands: Int)
        /// Hidden states of a speech tower, as `hidden_states[layer]` of transformers: 0 before the first layer, the
        /// last one after the final norm.
        case tower(layer: Int)
        /// Rows that another program computed, in .npy files.
        case stored
    }

    package let kind: Kind
    /// Elements of a row; nil if the files decide.
    package let width: Int?
    private let mel: LogMelSpectrogram?
    private let encoder: WhisperEncoder?

    private init(_ kind: Kind, width: Int?, mel: LogMelSpectrogram? = nil, encoder: WhisperEncoder? = nil) {
        (self.kind, self.width, self.mel, self.encoder) = (kind, width, mel, encoder)
    }

    /// - Throws: `LyraError.format` for a number of bands outside 1…1024.
    package static func logMels(bands: Int) throws -> SpeechFrames {
        let mel = try LogMelSpectrogram(MelConfiguration(melCount: bands, source: "log-mels"))
        return SpeechFrames(.logMels(bands: bands), width: 2 * bands, mel: mel)
    }

    package static let stored = SpeechFrames(.stored, width: nil)

    /// - Parameters:
    ///   - directory: a Whisper directory or a checkpoint
    ///   - layer: 0 … layers; nil for the last
    /// - Throws: `LyraError` that names what is missing or damaged; `.argument` for a layer that the tower does not
    ///   have; `.unsupported` for a tower whose positions are not 20 ms.
    package static func tower(
        _ directory: String, layer: Int?, check: @escaping () throws -> Void
    ) throws -> SpeechFrames {
        let (mel, encoder) = try LonePart.speechEncoder(directory, check: check)
        let layers = encoder.configuration.layers, features = mel.configuration
        let layer = layer ?? layers
        guard (0...layers).contains(layer) else {
            throw LyraError(.argument, "\(directory): the tower has the layers 0…\(layers), not \(layer)")
        }
        let isStandard =
            features.sampleRate == sampleRate
            && features.sampleCount == encoder.configuration.positions * samples
        guard isStandard else {
            throw LyraError(
                .unsupported,
                "\(directory): \(encoder.configuration.positions) positions for \(features.sampleCount) samples at "
                    + "\(features.sampleRate) Hz; units need one for every \(samples) samples at \(sampleRate) Hz")
        }
        return SpeechFrames(.tower(layer: layer), width: encoder.configuration.width, mel: mel, encoder: encoder)
    }

    /// Calls `body` with the frames of a file, window by window: [frames, width]. The last frame can cover less than
    /// 20 ms.
    ///
    /// - Parameter check: called often; throws to stop
    /// - Throws: `LyraError` that names the file if it cannot be read, is empty, or has rows of another width; any error
    ///   of `check` and `body`.
    package func forEachWindow(of path: String, check: () throws -> Void, _ body: (Tensor) throws -> Void) throws {
        guard let mel else { return try body(NumpyArray.matrix(path: path)) }
        let stream = try MonoAudioStream(AudioDecoder.open(path: path), sampleRate: Self.sampleRate)
        let window = GrowingBuffer<Float>()
        var isEmpty = true
        while true {
            try check()
            try window.resize(to: mel.configuration.sampleCount)
            let count = try stream.read(into: window, from: 0)
            guard count > 0 else { break }
            isEmpty = false
            window.truncate(to: count)
            let frames = (count + Self.samples - 1) / Self.samples
            try body(features(mel(window), check).rows(0..<frames))
            if count < mel.configuration.sampleCount { break }
        }
        guard !isEmpty else { throw LyraError(.format, "\(path): it has no samples") }
    }

    /// The features of a whole window. [mels, columns] → [columns / 2, width]
    private func features(_ mel: Tensor, _ check: () throws -> Void) throws -> Tensor {
        guard let encoder, case .tower(let layer) = kind else {
            let columns = try mel.transposed()
            return try columns.reshaped([columns.rows / 2, 2 * columns.columns])
        }
        var state = try encoder.begin(mel: mel)
        guard layer < encoder.configuration.layers else {
            while true {
                try check()
                if let output = try encoder.step(&state) { return output }
            }
        }
        for _ in 0..<layer {
            try check()
            _ = try encoder.step(&state)
        }
        return state.hidden
    }
}
