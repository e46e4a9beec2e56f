import LyraMedia
import LyraModel
import LyraTensor

/// One recording on its way to prompt tokens: read, encoded and projected a window at a time, whatever its length.
///
/// A recording of n samples is cut into n / window + 1 windows, as in the reference: one whose length is an exact multiple
/// gets an empty window at its end.
final class SpeechEncoding: MediaEncoding {
    private let stream: MonoAudioStream
    private let input: SpeechInput
    private var window: [Float]
    /// Samples of `window` that were read for the next encoding; nil if none was read yet.
    private var filled: Int?
    private var run: WhisperEncoder.Run?
    private var sawLastWindow = false
    private(set) var windowsDone = 0
    private(set) var tokens: [Tensor] = []
    var layout: MediaLayout { .sequence }

    init(_ source: any SampleSource, _ input: SpeechInput) throws {
        stream = try MonoAudioStream(source, sampleRate: input.sampleRate)
        self.input = input
        window = []
    }

    var isDone: Bool { sawLastWindow && run == nil }

    /// Whether there is more than one window; nil before the first was read.
    private(set) var hasSeveralWindows: Bool?

    /// Reads the first window, so that `hasSeveralWindows` is known.
    func readFirstWindow() throws { if hasSeveralWindows == nil { try readWindow() } }

    private func readWindow() throws {
        if window.isEmpty { window = [Float](repeating: 0, count: input.windowSamples) }
        let count = try window.withUnsafeMutableBufferPointer { try stream.read(into: $0) }
        filled = count
        if hasSeveralWindows == nil { hasSeveralWindows = count == window.count }
    }

    /// One short piece: a window's features, or one layer of the encoder.
    ///
    /// - Returns: whether a window was finished
    func step(adapter: Int?) throws -> Bool {
        if var run {
            self.run = nil
            guard let encoded = try input.encoder.step(&run) else {
                self.run = run
                return false
            }
            tokens.append(try input.project(encoded, adapter: adapter))
            windowsDone += 1
            return true
        }
        guard !sawLastWindow else { return false }
        if filled == nil { try readWindow() }
        let count = filled ?? 0
        filled = nil
        sawLastWindow = count < input.windowSamples
        let features = input.mel.configuration
        let mel = try Tensor([features.melCount, features.frameCount]) { out in
            try window.withUnsafeBufferPointer {
                try input.mel(
                    UnsafeBufferPointer(rebasing: $0[..<count]),
                    into: UnsafeMutableBufferPointer(start: out, count: input.mel.outputCount))
            }
        }
        run = try input.encoder.begin(mel: mel)
        if sawLastWindow { window = [] }
        return false
    }
}
