import LyraModel
import LyraTensor

/// Encodes a medium to prompt tokens in short steps.
protocol MediaEncoding: AnyObject {
    var kind: MediaKind { get }

    /// Whether nothing is left to encode. Encoded rows may still be waiting.
    var isDone: Bool { get }

    /// Does one short piece of work.
    ///
    /// - Parameter isComplete: whether the turn has ended, so that no more input can arrive
    func step(isComplete: Bool) throws -> EncodingStep

    /// Number of encoded rows that are waiting.
    var readyRows: Int { get }

    /// Bytes of the encoded rows that are waiting.
    var readyBytes: Int { get }

    /// Removes the encoded rows and returns them as prompt rows. Speech is projected here, because the adapter, which
    /// can have a projector of its own, may be settled only after the encoder has run.
    func take(adapter: Int?) throws -> [EncodedRows]

    /// The medium's share of the progress: the number of windows of speech, or 1 for other media; nil if unknown.
    var expectedItems: Int? { get }

    /// Number of prompt rows still to be taken, whether encoded or not; nil if unknown.
    var expectedRows: Int? { get }

    /// Layout of the rows in time and space; valid once rows are ready.
    var layout: MediaLayout { get }
}

/// Result of an encoding step.
enum EncodingStep {
    /// There is no work until more is fed.
    case waiting
    case working
    /// A progress item was finished: a window of speech, an image, a video or a sound.
    case finished
}

/// Rows of a medium: [tokens, hidden].
struct EncodedRows {
    var rows: Tensor
    /// Start and duration of these rows within the recording, in seconds; 0 for media other than speech.
    var start = 0.0
    var seconds = 0.0
}

/// The kind of a medium.
public enum MediaKind: Int32, Sendable, Codable, BitwiseCopyable {
    case speech = 1, sound, image, video
}

/// The location of a medium in a turn's prompt.
public struct MediaSpan: Sendable, Equatable, Codable, BitwiseCopyable {
    public var kind: MediaKind
    /// Index of the first token in the turn's prompt.
    public var first: Int
    public var tokens: Int
    /// For an image or a video: pairs of frames, and rows and columns of tokens; otherwise (tokens, 1, 1).
    public var time: Int
    public var height: Int
    public var width: Int
    /// Start and duration within the recording of speech, in seconds; 0 for other media. If silence is skipped, a
    /// recording can have several spans.
    public var start: Double
    public var seconds: Double
}
