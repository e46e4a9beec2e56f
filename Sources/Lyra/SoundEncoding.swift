import LyraMedia
import LyraModel
import LyraTensor

/// Encodes sound other than speech to prompt tokens: reads the samples piece by piece, then encodes three clips layer
/// by layer.
final class SoundEncoding: MediaEncoding {
    private enum State {
        case reading(SoundClips)
        case encoding(SoundEncoder.Encoding)
        case done
    }

    private let networks: SoundNetworks
    private var state: State
    private var tokens: [Tensor] = []
    let kind = MediaKind.sound
    let layout = MediaLayout.sequence
    let expectedItems: Int? = 1
    let expectedRows: Int? = nil

    /// - Parameter limit: maximum length in seconds; longer sound is an error
    init(_ source: any SampleSource, _ networks: SoundNetworks, limit: Double) throws {
        self.networks = networks
        state = .reading(try SoundClips(source, limit: limit))
    }

    var isDone: Bool { if case .done = state { true } else { false } }

    var readyRows: Int { tokens.reduce(0) { $0 + $1.rows } }

    var readyBytes: Int { tokens.reduce(0) { $0 + $1.count * MemoryLayout<Float>.stride } }

    func take(adapter: Int?) -> [EncodedRows] {
        defer { tokens = [] }
        return tokens.map { EncodedRows(rows: $0) }
    }

    func step(isComplete: Bool) throws -> EncodingStep {
        switch state {
        case .reading(let clips):
            guard try clips.read() else { return .working }
            state = .encoding(try networks.encoder.begin(clips: clips.features()))
        case .encoding(var encoding):
            state = .done  // leaves one reference, so that the encoding changes in place
            if let vectors = try networks.encoder.step(&encoding) {
                tokens = [try networks.project(vectors)]
                return .finished
            }
            state = .encoding(encoding)
        case .done:
            break
        }
        return .working
    }
}
