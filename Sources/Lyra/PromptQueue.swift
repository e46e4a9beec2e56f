import LyraBase
import LyraModel
import LyraTensor

/// Prompt rows that are ready for the decoder, in order, with their positions.
struct PromptQueue {
    private enum Content {
        /// Text tokens, embedded when they are taken.
        case text(GrowingBuffer<Int32>)
        case media(Tensor, MediaLayout)
    }

    private struct Entry {
        var content: Content
        /// Position of the first row.
        let start: Int32
        let rows: Int
        /// Number of rows already taken.
        var taken = 0

        func position(_ row: Int) -> Position {
            let layout = if case .media(_, let layout) = content { layout } else { MediaLayout.sequence }
            return layout.position(of: row, from: start)
        }
    }

    private var entries: [Entry] = []
    /// Number of leading entries whose rows are all taken.
    private var done = 0
    private(set) var count = 0
    /// Bytes of the rows in the queue.
    private(set) var byteCount = 0

    /// Appends text at consecutive positions from `next` on.
    ///
    /// - Parameter ids: must not change afterwards
    mutating func append(_ ids: GrowingBuffer<Int32>, next: inout Int32) {
        guard !ids.isEmpty else { return }
        append(Entry(content: .text(ids), start: next, rows: ids.count))
        next += Int32(ids.count)
    }

    /// Appends rows of a medium from the next free position on; later rows follow the largest position.
    ///
    /// - Parameter layout: a grid must be appended as a whole
    mutating func append(_ rows: Tensor, _ layout: MediaLayout, next: inout Int32) {
        guard rows.rows > 0 else { return }
        byteCount += rows.count * MemoryLayout<Float>.stride
        append(Entry(content: .media(rows, layout), start: next, rows: rows.rows))
        next += Int32(layout.length(rows: rows.rows))
    }

    private mutating func append(_ entry: Entry) {
        count += entry.rows
        entries.append(entry)
    }

    /// Removes at most `limit` rows from the front.
    ///
    /// - Parameter adapter: the adapter whose embeddings text gets; nil for none
    /// - Returns: embeddings [rows, hidden], with a position and a role for each row
    mutating func take(
        _ limit: Int, _ decoder: Decoder, adapter: Int?
    ) throws -> (embeddings: Tensor, positions: GrowingBuffer<Position>, roles: GrowingBuffer<TokenRole>) {
        let total = min(limit, count)
        let positions = GrowingBuffer<Position>(), roles = GrowingBuffer<TokenRole>()
        try positions.reserve(total)
        try roles.reserve(total)
        var tensors: [Tensor] = []
        while positions.count < total {
            let entry = entries[done], range = entry.taken..<min(entry.rows, entry.taken + total - positions.count)
            switch entry.content {
            case .text(let ids):
                tensors.append(try decoder.embed(ids[range], adapter: adapter))
                try roles.append(repeating: .text, count: range.count)
            case .media(let rows, _):
                tensors.append(rows.rows(range))
                try roles.append(repeating: .media, count: range.count)
                byteCount -= range.count * rows.columns * MemoryLayout<Float>.stride
            }
            try positions.append(range.lazy.map { entry.position($0) })
            entries[done].taken = range.upperBound
            if range.upperBound == entry.rows {
                entries[done].content = .text(GrowingBuffer())
                done += 1
            }
        }
        // Rows of a single entry need no copy.
        let embeddings = try tensors.count == 1 ? tensors[0] : Tensor.stacking(tensors)
        if done > entries.count / 2 {
            entries.removeFirst(done)
            done = 0
        }
        count -= total
        return (embeddings, positions, roles)
    }
}
