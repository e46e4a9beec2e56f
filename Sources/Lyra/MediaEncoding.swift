import LyraModel
import LyraTensor

/// Something fed besides text, on its way to prompt tokens in short steps.
protocol MediaEncoding: AnyObject {
    var isDone: Bool { get }

    /// One short piece of work.
    ///
    /// - Returns: whether something that progress counts was finished: a window of speech, a picture, a video, a sound
    func step(adapter: Int?) throws -> Bool

    /// What was encoded so far: tensors of [tokens, hidden].
    var tokens: [Tensor] { get }

    /// How its tokens stand in time and space.
    var layout: MediaLayout { get }
}

extension MediaEncoding {
    var tokenCount: Int { tokens.reduce(0) { $0 + $1.rows } }
}

/// How the tokens of a medium are counted by M-RoPE (arXiv 2409.12191).
enum MediaLayout: Equatable {
    /// One after the other, like text.
    case sequence
    /// A grid of frame pairs, rows and columns of tokens.
    case grid(time: Int, height: Int, width: Int)
}

/// Gives out positions span by span.
struct PositionCounter {
    private(set) var positions: [Position] = []
    /// Where the next token stands.
    private(set) var next: Int32

    init(from first: Int32) { next = first }

    mutating func append(_ count: Int) {
        positions += (0..<Int32(count)).map { Position(next + $0) }
        next += Int32(count)
    }

    /// Each token of a grid has its own time, row and column, from the next free position on; what follows begins after the
    /// largest.
    mutating func append(_ layout: MediaLayout, count: Int) {
        guard case .grid(let time, let height, let width) = layout else { return append(count) }
        for t in 0..<Int32(time) {
            for h in 0..<Int32(height) {
                for w in 0..<Int32(width) {
                    positions.append(Position(time: next + t, height: next + h, width: next + w))
                }
            }
        }
        next += Int32(max(time, height, width))
    }
}
