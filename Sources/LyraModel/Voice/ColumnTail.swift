import LyraTensor

/// A matrix in working memory: `stride` floats from row to row.
struct Plane {
    let base: UnsafeMutablePointer<Float>
    let stride: Int

    /// The first row at `column`.
    func at(_ column: Int) -> UnsafeMutablePointer<Float> { base + column }

    /// Writes zeros into columns `range` of `rows` rows.
    func clear(_ range: Range<Int>, rows: Int) {
        for row in 0..<rows { (base + row * stride + range.lowerBound).update(repeating: 0, count: range.count) }
    }
}

/// The last columns of a signal that comes in pieces: those which a layer will read again beside the next piece.
struct ColumnTail {
    let channels: Int
    private let capacity: Int
    private let storage: FloatStorage
    private(set) var count: Int

    /// - Parameter zeros: columns of zeros that stand before the signal.
    init(channels: Int, capacity: Int, zeros: Int = 0) throws {
        self.channels = channels
        self.capacity = max(capacity, zeros)
        storage = try FloatStorage(count: FloatStorage.count(of: [channels, self.capacity]))
        count = zeros
        storage.base.update(repeating: 0, count: storage.count)
    }

    /// Writes what is kept to the first `count` columns of `plane`.
    func restore(to plane: Plane) {
        for row in 0..<channels {
            (plane.base + row * plane.stride).update(from: storage.base + row * capacity, count: count)
        }
    }

    /// Keeps columns `range` of `plane` in place of what was kept.
    mutating func keep(_ range: Range<Int>, of plane: Plane) {
        assert(range.count <= capacity, "a tail of \(range.count) columns was not foreseen")
        count = min(range.count, capacity)
        for row in 0..<channels {
            (storage.base + row * capacity).update(
                from: plane.at(range.lowerBound) + row * plane.stride, count: count)
        }
    }
}
