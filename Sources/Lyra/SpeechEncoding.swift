import LyraBase
import LyraMedia
import LyraModel
import LyraTensor

/// One recording on its way to prompt tokens: read, encoded and projected a window at a time, whatever its length.
///
/// A recording of n samples is cut into n / window + 1 windows, as in the reference: one whose length is an exact multiple
/// gets an empty window at its end. A recording that is still being fed is encoded window by window as they become full.
final class SpeechEncoding: MediaEncoding {
    private let stream: MonoAudioStream
    /// Where further samples of the recording go; nil once it is finished.
    private var queue: PCMQueue?
    private let input: SpeechInput
    private let skipsSilence: Bool
    private let length: SourceLength?
    private let window = GrowingBuffer<Float>()
    /// Samples of `window` that were read.
    private var filled = 0
    /// Whether `window` is to be encoded as it is.
    private var isRead = false
    private var run: WhisperEncoder.Run?
    private var sawLastWindow = false
    /// Windows that were encoded or left out.
    private var windowsDone = 0
    /// Samples that the window in progress has.
    private var samplesEncoding = 0
    /// Encoder outputs that were not taken yet, with the index and the samples of their windows.
    private var encoded: [(rows: Tensor, window: Int, samples: Int)] = []
    /// Rows that were taken.
    private var rowsGiven = 0

    let kind = MediaKind.speech
    let layout = MediaLayout.sequence

    /// - Parameters:
    ///   - skipsSilence: leaves out windows in which nothing is heard, unless that is all of them
    ///   - queue: what gives `source` its samples, if further ones can follow
    init(
        _ source: any SampleSource, _ input: SpeechInput, skipsSilence: Bool = false, queue: PCMQueue? = nil
    ) throws {
        self.queue = queue
        stream = try MonoAudioStream(source, sampleRate: input.sampleRate)
        length = source.length?.converted(from: source.sampleRate, to: input.sampleRate)
        self.input = input
        self.skipsSilence = skipsSilence
    }

    /// Whether further samples can follow.
    var isOpen: Bool { queue != nil }

    /// Continues the recording.
    func append(_ piece: PCMQueue) throws { try queue?.append(piece) }

    /// Ends the recording.
    func finish() {
        queue?.finish()
        queue = nil
    }

    var isDone: Bool { sawLastWindow && run == nil && !isRead }

    /// Whether there is more than one window; nil before the first is read.
    private(set) var hasSeveralWindows: Bool?

    var expectedUnits: Int? {
        sawLastWindow ? windowsDone + (run == nil && !isRead ? 0 : 1) : length.map { windows($0.samples) }
    }

    var expectedRows: Int? {
        guard case .exact(let samples)? = length, !skipsSilence else { return nil }
        let (rows, overflow) = windows(samples).multipliedReportingOverflow(by: input.windowTokens)
        return overflow ? .max : max(rows - rowsGiven, readyRows)
    }

    private func windows(_ samples: Int64) -> Int { Int(samples / Int64(input.windowSamples)) + 1 }

    var readyRows: Int { encoded.count * input.windowTokens }

    var readyBytes: Int { encoded.reduce(0) { $0 + $1.rows.count * MemoryLayout<Float>.stride } }

    func take(adapter: Int?) throws -> [EncodedRows] {
        let rate = Double(input.sampleRate), length = Double(input.windowSamples) / rate
        let result = try encoded.map { output in
            EncodedRows(
                rows: try input.project(output.rows, adapter: adapter), start: Double(output.window) * length,
                seconds: Double(output.samples) / rate)
        }
        rowsGiven += result.reduce(0) { $0 + $1.rows.rows }
        encoded = []
        return result
    }

    /// Reads the first window, so that `hasSeveralWindows` is known.
    func readFirstWindow() throws { if hasSeveralWindows == nil { _ = try readWindow(isComplete: true) } }

    /// Fills the window. → whether it is whole, or the recording's last
    private func readWindow(isComplete: Bool) throws -> Bool {
        guard !isRead else { return true }
        if window.isEmpty { try window.resize(to: input.windowSamples) }
        filled += try stream.read(into: UnsafeMutableBufferPointer(rebasing: window.elements[filled...]))
        guard filled == window.count || stream.isAtEnd || isComplete else { return false }
        isRead = true
        if hasSeveralWindows == nil { hasSeveralWindows = filled == window.count }
        sawLastWindow = filled < window.count
        // Many short recordings can wait at once.
        if sawLastWindow {
            window.truncate(to: filled)
            window.shrink()
        }
        return true
    }

    /// One short piece: a window's features, or one layer of the encoder.
    func step(isComplete: Bool) throws -> EncodingStep {
        if var run {
            self.run = nil
            guard let output = try input.encoder.step(&run) else {
                self.run = run
                return .working
            }
            encoded.append((output, windowsDone, samplesEncoding))
            windowsDone += 1
            return .finished
        }
        guard !isDone else { return .working }
        guard try readWindow(isComplete: isComplete) else { return .waiting }
        isRead = false
        defer { filled = 0 }
        if skipsSilence && isSilent {
            windowsDone += 1
            return .finished
        }
        samplesEncoding = filled
        run = try input.encoder.begin(mel: input.mel(UnsafeBufferPointer(rebasing: window.elements[..<filled])))
        if sawLastWindow { window.removeAll() }
        return .working
    }

    /// Whether nothing is heard in the window, and it is not all that there would be.
    private var isSilent: Bool {
        if sawLastWindow && rowsGiven == 0 && encoded.isEmpty { return false }
        return window.elements[..<filled].allSatisfy { abs($0) < SilenceWatch.threshold }
    }
}
