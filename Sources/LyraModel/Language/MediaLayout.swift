/// How M-RoPE numbers the tokens of a medium (arXiv 2409.12191).
package enum MediaLayout: Equatable, Sendable {
    /// Consecutive positions, as for text.
    case sequence
    /// A grid of frame pairs, rows and columns of tokens.
    case grid(time: Int, height: Int, width: Int)

    /// The position of a token, counted from `start`, the next free position before the medium: each token of a grid
    /// has its own time, row and column; in a sequence all three are the same number.
    ///
    /// - Parameter row: of the medium. With `start` it must fit `Int32`, which the caller has checked.
    package func position(of row: Int, from start: Int32) -> Position {
        guard case .grid(_, let height, let width) = self else { return Position(start + Int32(row)) }
        return Position(
            time: start + Int32(row / (height * width)), height: start + Int32(row / width % height),
            width: start + Int32(row % width))
    }

    /// The number of positions that `rows` tokens take: what follows starts after the largest.
    package func length(rows: Int) -> Int {
        switch self {
        case .sequence: rows
        case .grid(let time, let height, let width): max(time, height, width)
        }
    }
}
