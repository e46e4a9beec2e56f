import LyraBase
import LyraMedia
import LyraModel
import LyraTensor

/// Encodes one recording to prompt tokens: reads, encodes and projects one window at a time, so that any length is
/// possible.
///
/// As in the reference, a recording of n samples has n / window + 1 windows: if its length is an exact multiple of the
/// window, an empty window follows at the end. A recording that is still being fed is encoded as its windows fill up.
final class SpeechEncoding: MediaEncoding {
    private enum State {
        /// The window is being filled.
        case reading
        /// The window is full, or the last of the recording, and is encoded next.
        case read
        case encoding(WhisperEncoder.Encoding)
        case done
    }

    private let stream: MonoAudioStream
    /// Receives further samples of the recording; nil once the recording is finished.
    private var queue: PCMQueue?
    private let networks: SpeechNetworks
    private let skipsSilence: Bool
    private let length: SourceLength?
    private var state = State.reading
    private let window = GrowingBuffer<Float>()
    /// Number of samples read into the window.
    private var filled = 0
    private var isLastWindow = false
    /// Number of windows that were encoded or skipped.
    private var windowsDone = 0
    /// Encoder outputs that are waiting, with the index and the number of samples of their windows.
    private var encoded: [(rows: Tensor, window: Int, samples: Int)] = []
    /// Number of rows that were taken.
    private var rowsTaken = 0

    /// Whether there is more than one window; nil until the first is read.
    private(set) var hasSeveralWindows: Bool?

    let kind = MediaKind.speech
    let layout = MediaLayout.sequence

    /// - Parameters:
    ///   - source: an entire recording
    ///   - skipsSilence: whether to skip silent windows, unless all windows are silent
    ///   - report: as in `SilenceWatch`
    init(
        _ source: any SampleSource, _ networks: SpeechNetworks, skipsSilence: Bool,
        report: @escaping (_ fault: String) -> Void
    ) throws {
        stream = try MonoAudioStream(SilenceWatch(source, report: report), sampleRate: networks.sampleRate)
        length = source.length?.converted(from: source.sampleRate, to: networks.sampleRate)
        self.networks = networks
        self.skipsSilence = skipsSilence
    }

    /// A recording that `append` continues until `finish`.
    convenience init(
        open queue: PCMQueue, _ networks: SpeechNetworks, skipsSilence: Bool,
        report: @escaping (_ fault: String) -> Void
    ) throws {
        try self.init(queue, networks, skipsSilence: skipsSilence, report: report)
        self.queue = queue
    }

    /// Whether further samples can follow.
    var isOpen: Bool { queue != nil }

    /// Number of frames that were fed to an open recording.
    var framesFed: Int64 { queue?.framesAppended ?? 0 }

    /// Continues the recording.
    func append(_ piece: PCMQueue) throws { try queue?.append(piece) }

    /// Ends the recording.
    func finish() {
        queue?.finish()
        queue = nil
    }

    var isDone: Bool { if case .done = state { true } else { false } }

    var expectedItems: Int? {
        isLastWindow ? windowsDone + (isDone ? 0 : 1) : length.map { windows($0.samples) }
    }

    var expectedRows: Int? {
        guard case .exact(let samples)? = length, !skipsSilence else { return nil }
        guard let rows = windows(samples).checkedMultiplying(by: networks.windowTokens) else { return .max }
        return max(rows - rowsTaken, readyRows)
    }

    private func windows(_ samples: Int64) -> Int { Int(samples / Int64(networks.windowSamples)) + 1 }

    var readyRows: Int { encoded.count * networks.windowTokens }

    var readyBytes: Int { encoded.reduce(0) { $0 + $1.rows.count * MemoryLayout<Float>.stride } }

    func take(adapter: Int?) throws -> [EncodedRows] {
        let rate = Double(networks.sampleRate), length = Double(networks.windowSamples) / rate
        let result = try encoded.map { output in
            EncodedRows(
                rows: try networks.project(output.rows, adapter: adapter), start: Double(output.window) * length,
                seconds: Double(output.samples) / rate)
        }
        rowsTaken += result.reduce(0) { $0 + $1.rows.rows }
        encoded = []
        return result
    }

    /// Does one short piece of work: reads a window, computes its features, or runs one layer of the encoder.
    func step(isComplete: Bool) throws -> EncodingStep {
        let current = state
        state = .done  // leaves one reference, so that the encoding changes in place
        switch consume current {
        case .reading:
            let isRead = try readWindow(isComplete: isComplete)
            state = isRead ? .read : .reading
            return isRead ? .working : .waiting
        case .read:
            guard !(skipsSilence && isSilent) else { return finishWindow() }
            state = .encoding(try networks.encoder.begin(mel: features()))
        case .encoding(var encoding):
            if let output = try networks.encoder.step(&encoding) {
                encoded.append((output, windowsDone, filled))
                return finishWindow()
            }
            state = .encoding(encoding)
        case .done:
            break
        }
        return .working
    }

    /// - Returns: whether the window is full, or the last of the recording
    private func readWindow(isComplete: Bool) throws -> Bool {
        if window.isEmpty { try window.resize(to: networks.windowSamples) }
        filled += try stream.read(into: window, from: filled)
        guard filled == window.count || stream.isAtEnd || isComplete else { return false }
        isLastWindow = filled < window.count
        if hasSeveralWindows == nil { hasSeveralWindows = !isLastWindow }
        // Release memory, because many short recordings can wait at once.
        if isLastWindow {
            window.truncate(to: filled)
            window.shrink()
        }
        return true
    }

    private func features() throws -> Tensor {
        let mel = try networks.mel(window)
        if isLastWindow { window.removeAll() }
        return mel
    }

    private func finishWindow() -> EncodingStep {
        windowsDone += 1
        filled = 0
        state = isLastWindow ? .done : .reading
        return .finished
    }

    /// Whether the window is silent and may be skipped: at least one window must remain.
    private var isSilent: Bool {
        if isLastWindow && rowsTaken == 0 && encoded.isEmpty { return false }
        return SilenceWatch.areSilent(window)
    }
}
