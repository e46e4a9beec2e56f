import LyraMedia
import LyraModel
import LyraTensor

/// Encodes sound other than speech to prompt tokens: reads it piece by piece, then encodes three clips of it layer by
/// layer.
final class SoundEncoding: MediaEncoding {
    private enum Stage {
        case reading(SoundClips)
        case encoding(SoundEncoder.Run)
        case done
    }

    private let networks: SoundNetworks
    private var stage: Stage
    private var tokens: [Tensor] = []
    let kind = MediaKind.sound
    let layout = MediaLayout.sequence
    let expectedItems: Int? = 1
    let expectedRows: Int? = nil

    /// - Parameter limit: maximum length in seconds; longer sound is an error
    init(_ source: any SampleSource, _ networks: SoundNetworks, limit: Double) throws {
        self.networks = networks
        stage = .reading(try SoundClips(source, limit: limit))
    }

    var isDone: Bool { if case .done = stage { true } else { false } }

    var readyRows: Int { tokens.reduce(0) { $0 + $1.rows } }

    var readyBytes: Int { tokens.reduce(0) { $0 + $1.count * MemoryLayout<Float>.stride } }

    func take(adapter: Int?) -> [EncodedRows] {
        defer { tokens = [] }
        return tokens.map { EncodedRows(rows: $0) }
    }

    func step(isComplete: Bool) throws -> EncodingStep {
        switch stage {
        case .reading(let clips):
            guard try clips.read() else { return .working }
            stage = .encoding(try networks.encoder.begin(clips: clips.features()))
        case .encoding(var run):
            stage = .done  // leaves one reference, so that the run changes in place
            if let vectors = try networks.encoder.step(&run) {
                tokens = [try networks.project(vectors)]
                return .finished
            }
            stage = .encoding(run)
        case .done:
            break
        }
        return .working
    }
}
