import LyraBase
import LyraTensor

/// A random choice of the rows of a stream of unknown length, each with the same chance (Vitter's algorithm R, 1985).
package struct FrameSample {
    private let rows = GrowingBuffer<Float>()
    private let limit: Int
    private var random: SplitMix64
    /// Elements of a row; 0 before the first.
    private var width = 0
    /// Rows that came by.
    package private(set) var seen = 0

    /// - Parameter limit: rows to choose, at least 1
    package init(limit: Int, seed: UInt64) {
        self.limit = limit
        random = SplitMix64(seed: seed)
    }

    package var count: Int { min(seen, limit) }

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
