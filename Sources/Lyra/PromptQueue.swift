import LyraModel
import LyraTensor

/// Prompt rows that are ready for the decoder, in their order, with their positions.
struct PromptQueue {
    private enum Piece {
        /// Tokens of text, which are embedded when they are taken, and where the first stands.
        case text(ArraySlice<Int32>, Int32)
        case media(Tensor, ArraySlice<Position>)
    }

    private var pieces: [Piece] = []
    /// Pieces that were taken.
    private var taken = 0
    private(set) var count = 0
    /// Bytes of the rows that are held.
    private(set) var byteCount = 0

    /// Appends text whose tokens stand one after the other from `next` on.
    mutating func append(_ ids: [Int32], next: inout Int32) {
        guard !ids.isEmpty else { return }
        pieces.append(.text(ids[...], next))
        count += ids.count
        next += Int32(ids.count)
    }

    /// Appends rows of a medium.
    ///
    /// - Parameter layout: a grid must come whole
    mutating func append(_ rows: Tensor, _ layout: MediaLayout, next: inout Int32) {
        guard rows.rows > 0 else { return }
        byteCount += rows.count * MemoryLayout<Float>.stride
        switch layout {
        case .sequence: pieces.append(.media(rows, PromptQueue.sequence(rows.rows, &next)[...]))
        case .grid(let time, let height, let width):
            pieces.append(.media(rows, PromptQueue.grid(time, height, width, &next)[...]))
        }
        count += rows.rows
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
                let target = out + positions.count * hidden, room = total - positions.count
                let rows: Tensor, rest: Piece?
                switch pieces[taken] {
                case .text(let ids, let first):
                    let part = ids.prefix(room)
                    rows = try decoder.embed(part)
                    positions += (0..<Int32(part.count)).map { Position(first + $0) }
                    roles += [TokenRole](repeating: .text, count: part.count)
                    let left = ids.dropFirst(room)
                    rest = left.isEmpty ? nil : .text(left, first + Int32(part.count))
                case .media(let all, let places):
                    let part = places.prefix(room)
                    rows = all.rows(0..<part.count)
                    positions += part
                    roles += [TokenRole](repeating: .media, count: part.count)
                    byteCount -= rows.count * MemoryLayout<Float>.stride
                    let left = places.dropFirst(room)
                    rest = left.isEmpty ? nil : .media(all.rows(part.count..<all.rows), left)
                }
                rows.withValues { target.update(from: $0, count: rows.count) }
                if let rest { pieces[taken] = rest } else { taken += 1 }
            }
        }
        if taken > pieces.count / 2 {
            pieces.removeFirst(taken)
            taken = 0
        }
        count -= total
        return (embeddings, positions, roles)
    }
}
