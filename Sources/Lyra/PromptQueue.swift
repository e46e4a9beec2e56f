import LyraModel
import LyraTensor

/// Prompt rows that are ready for the decoder, in their order, with their positions.
struct PromptQueue {
    private enum Piece {
        /// Tokens of text, which are embedded when they are taken.
        case text([Int32])
        case media(Tensor)
    }

    private var pieces: [(piece: Piece, positions: ArraySlice<Position>)] = []
    private(set) var count = 0
    /// Bytes of the rows that are held.
    private(set) var byteCount = 0

    /// Appends text whose tokens stand one after the other from `next` on.
    mutating func append(_ ids: [Int32], next: inout Int32) {
        guard !ids.isEmpty else { return }
        append(.text(ids), PromptQueue.sequence(ids.count, &next))
    }

    /// Appends rows of a medium.
    ///
    /// - Parameter layout: a grid must come whole
    mutating func append(_ rows: Tensor, _ layout: MediaLayout, next: inout Int32) {
        guard rows.rows > 0 else { return }
        byteCount += rows.count * MemoryLayout<Float>.stride
        switch layout {
        case .sequence: append(.media(rows), PromptQueue.sequence(rows.rows, &next))
        case .grid(let time, let height, let width):
            append(.media(rows), PromptQueue.grid(time, height, width, &next))
        }
    }

    private mutating func append(_ piece: Piece, _ positions: [Position]) {
        count += positions.count
        pieces.append((piece, positions[...]))
    }

    private static func sequence(_ count: Int, _ next: inout Int32) -> [Position] {
        defer { next += Int32(count) }
        return (0..<Int32(count)).map { Position(next + $0) }
    }

    /// Each token of a grid has its own time, row and column, from the next free position on; what follows begins after the
    /// largest.
    private static func grid(_ time: Int, _ height: Int, _ width: Int, _ next: inout Int32) -> [Position] {
        var positions: [Position] = []
        positions.reserveCapacity(time * height * width)
        for t in 0..<Int32(time) {
            for h in 0..<Int32(height) {
                for w in 0..<Int32(width) {
                    positions.append(Position(time: next + t, height: next + h, width: next + w))
                }
            }
        }
        next += Int32(max(time, height, width))
        return positions
    }

    /// Takes `limit` rows at most from the front.
    ///
    /// - Returns: embeddings [rows, hidden] with a position and a role for each
    mutating func take(
        _ limit: Int, _ decoder: Decoder
    ) throws -> (embeddings: Tensor, positions: [Position], roles: [TokenRole]) {
        let (total, hidden) = (min(limit, count), decoder.configuration.hiddenSize)
        var positions: [Position] = [], roles: [TokenRole] = []
        let embeddings = try Tensor([total, hidden]) { out in
            while positions.count < total {
                let (piece, at) = pieces.removeFirst()
                let taken = min(at.count, total - positions.count)
                let target = out + positions.count * hidden
                let rows: Tensor, rest: Piece
                switch piece {
                case .text(let ids):
                    (rows, rest) = (try decoder.embed(ids.prefix(taken)), .text(Array(ids.dropFirst(taken))))
                    roles += [TokenRole](repeating: .text, count: taken)
                case .media(let all):
                    (rows, rest) = (all.rows(0..<taken), .media(all.rows(taken..<all.rows)))
                    roles += [TokenRole](repeating: .media, count: taken)
                    byteCount -= rows.count * MemoryLayout<Float>.stride
                }
                rows.withValues { target.update(from: $0, count: rows.count) }
                positions += at.prefix(taken)
                if taken < at.count { pieces.insert((rest, at.dropFirst(taken)), at: 0) }
            }
        }
        count -= total
        return (embeddings, positions, roles)
    }
}
