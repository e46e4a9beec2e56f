import LyraMedia
import LyraModel
import LyraTensor

/// Sound that is not speech on its way to prompt tokens: read piece by piece, then three clips of it encoded layer by layer.
final class SoundEncoding: MediaEncoding {
    private enum Stage {
        case reading(SoundClips)
        case encoding(SoundEncoder.Run)
        case done
    }

    private let input: SoundInput
    private var stage: Stage
    private(set) var tokens: [Tensor] = []
    let layout = MediaLayout.sequence

    /// - Parameter limit: seconds; longer sound is an error
    init(_ source: any SampleSource, _ input: SoundInput, limit: Double) throws {
        self.input = input
        stage = .reading(try SoundClips(source, limit: limit))
    }

    var isDone: Bool { if case .done = stage { true } else { false } }

    func step(adapter: Int?) throws -> Bool {
        switch stage {
        case .reading(let clips):
            guard try clips.read() else { return false }
            stage = .encoding(try input.encoder.begin(clips: clips.features()))
        case .encoding(var run):
            stage = .done  // held once while it works, so that it changes in place
            if let vectors = try input.encoder.step(&run) {
                tokens = [try input.project(vectors)]
                return true
            }
            stage = .encoding(run)
        case .done:
            break
        }
        return false
    }
}
