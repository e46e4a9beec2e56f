import LyraBase
import LyraTensor

/// A random choice of the rows of a stream of unknown length, each with the same chance (Vitter's algorithm R, 1985).
package struct FrameSample {
    private let rows = GrowingBuffer<Float>()
    private let limit: Int
    private var random: SplitMix64
    /// Elements of a row; 0 before the first.
    private var width = 0
    /// Rows that were replaced since the present recording began, by place.
    private var replaced: [Int: [Float]] = [:]
    /// Rows that came by.
    package private(set) var seen = 0

    /// - Parameter limit: rows to choose, at least 1
    package init(limit: Int, seed: UInt64) {
        self.limit = limit
        random = SplitMix64(seed: seed)
    }

    package var count: Int { min(seen, limit) }

    /// Adds the rows of one recording: all that `body` adds, or none if it throws.
    package mutating func addRecording(_ body: (inout FrameSample) throws -> Void) throws {
        let before = (random: random, width: width, seen: seen, elements: rows.count)
        replaced = [:]
        defer { replaced = [:] }
        do { try body(&self) } catch {
            rows.truncate(to: before.elements)
            for (place, row) in replaced where (place + 1) * row.count <= before.elements {
                for (column, value) in row.enumerated() { rows[place * row.count + column] = value }
            }
            (random, width, seen) = (before.random, before.width, before.seen)
            throw error
        }
    }

    /// - Throws: `LyraError.format` if rows have another width than those before; `.memory` if there is no room.
    package mutating func add(_ frames: Tensor) throws {
        if seen == 0 { width = frames.columns }
        guard frames.columns == width else {
            throw LyraError(.format, "frames of \(frames.columns) numbers follow frames of \(width)")
        }
        let width = width
        try frames.withValues { values in
            for row in 0..<frames.rows {
                let frame = UnsafeBufferPointer(start: values + row * width, count: width)
                if seen < limit {
                    try rows.append(frame)
                } else {
                    let place = Int(random.next(below: UInt64(seen + 1)))
                    guard place < limit else {
                        seen += 1
                        continue
                    }
                    if replaced[place] == nil {
                        replaced[place] = Array(rows.elements[place * width..<(place + 1) * width])
                    }
                    for (column, value) in frame.enumerated() { rows[place * width + column] = value }
                }
                seen += 1
            }
        }
    }

    /// The chosen rows, [count, width]
    package func tensor() throws -> Tensor {
        defer { withExtendedLifetime(rows) {} }
        let elements = rows.elements
        return try Tensor([count, width]) { out in
            if let base = elements.baseAddress { out.update(from: base, count: elements.count) }
        }
    }
}
