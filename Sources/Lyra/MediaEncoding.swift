import LyraModel
import LyraTensor

/// A medium on its way to prompt tokens, in short steps.
protocol MediaEncoding: AnyObject {
    var kind: MediaKind { get }

    /// Whether nothing is left to encode. Rows may still wait to be taken.
    var isDone: Bool { get }

    /// One short piece of work.
    ///
    /// - Parameter isComplete: whether nothing more will be fed; what a source does not give then is not waited for
    func step(isComplete: Bool) throws -> EncodingStep

    /// Rows that are encoded and were not taken yet.
    var readyRows: Int { get }

    /// Bytes of what is encoded and was not taken yet.
    var readyBytes: Int { get }

    /// Gives away the rows that are ready.
    func take(adapter: Int?) throws -> [EncodedRows]

    /// The medium's share of the progress: its windows of speech, or 1; nil if that is not known.
    var expectedUnits: Int? { get }

    /// Prompt rows that are still to be taken, ready or not; nil where that is not known yet.
    var expectedRows: Int? { get }

    /// How its rows stand in time and space; known once rows are ready.
    var layout: MediaLayout { get }
}

/// What a step of an encoding came to.
enum EncodingStep {
    /// There is nothing to do before more is fed.
    case waiting
    case working
    /// Something that progress counts was finished: a window of speech, a picture, a video, a sound.
    case finished
}

/// Rows of a medium: [tokens, hidden].
struct EncodedRows {
    var rows: Tensor
    /// Where they begin in the recording and how much of it they stand for, in seconds; 0 for what is no speech.
    var start = 0.0
    var seconds = 0.0
}

/// What was fed.
public enum MediaKind: Int32, Sendable, Codable, BitwiseCopyable {
    case speech = 1, sound, image, video
}

/// How the tokens of a medium are counted by M-RoPE (arXiv 2409.12191).
enum MediaLayout: Equatable {
    /// One after the other, like text.
    case sequence
    /// A grid of frame pairs, rows and columns of tokens.
    case grid(time: Int, height: Int, width: Int)
}

/// Where a medium stands in a turn's prompt.
public struct MediaSpan: Sendable, Equatable, Codable, BitwiseCopyable {
    public var kind: MediaKind
    /// The place of its first token among the turn's prompt tokens.
    public var first: Int
    public var tokens: Int
    /// Of an image or a video: pairs of frames, rows and columns of tokens; otherwise (tokens, 1, 1).
    public var time: Int
    public var height: Int
    public var width: Int
    /// The part of a recording of speech that it is, in seconds; 0 for what is no speech. A recording with silence left
    /// out is several spans.
    public var start: Double
    public var seconds: Double
}
