import LyraBase

/// A contiguous, row-major tensor of floats.
///
/// A value: operations make new tensors, and nothing writes into one that someone else holds. Rows of a tensor are a
/// view of it, without a copy.
public struct Tensor: @unchecked Sendable {
    public let shape: [Int]
    private var storage: FloatStorage
    private let offset: Int

    /// Makes a tensor of `shape` and lets `fill` write all of it.
    ///
    /// - Throws: `LyraError.memory` if there is no room for it, `.state` if `fill` was interrupted, and what `fill` throws.
    public init(_ shape: [Int], fill: (UnsafeMutablePointer<Float>) throws -> Void) throws {
        let storage = try FloatStorage(count: FloatStorage.count(of: shape))
        try fill(storage.base)
        try Interruption.check()
        self.init(shape, storage: storage, offset: 0)
    }

    public init(zeros shape: [Int]) throws {
        let count = try FloatStorage.count(of: shape)
        try self.init(shape) { base in
            try Tensor.forEachPiece(of: count) { (base + $0.lowerBound).update(repeating: 0, count: $0.count) }
        }
    }

    /// - Throws: `LyraError.argument` if there are not as many values as `shape` says.
    public init(_ shape: [Int], _ values: [Float]) throws {
        guard try FloatStorage.count(of: shape) == values.count else {
            throw LyraError(.argument, "\(values.count) values do not make a tensor of shape \(shape)")
        }
        try self.init(shape) { destination in
            values.withUnsafeBufferPointer {
                if let base = $0.baseAddress { destination.update(from: base, count: $0.count) }
            }
        }
    }

    private init(_ shape: [Int], storage: FloatStorage, offset: Int) {
        self.shape = shape
        self.storage = storage
        self.offset = offset
    }

    /// The rows of all `parts`, one after the other: [rows, columns].
    ///
    /// - Throws: `LyraError.argument` if their columns differ.
    public static func stacking(_ parts: [Tensor]) throws -> Tensor {
        let columns = parts.first?.columns ?? 0
        guard parts.allSatisfy({ $0.columns == columns }) else {
            throw LyraError(.argument, "tensors of shapes \(parts.map(\.shape)) cannot be stacked")
        }
        return try Tensor([parts.reduce(0) { $0 + $1.rows }, columns]) { out in
            var target = out
            for part in parts {
                try part.withValues { try copy(part.count, from: $0, to: target) }
                target += part.count
            }
        }
    }

    /// Length of the first axis.
    public var rows: Int { shape.first ?? 1 }
    /// Elements of one row.
    public var columns: Int { shape.dropFirst().reduce(1, *) }
    public var count: Int { shape.reduce(1, *) }

    /// Rows `range` as a tensor that shares this one's memory. The range is cut to what there is.
    public func rows(_ range: Range<Int>) -> Tensor {
        let range = range.clamped(to: 0..<rows)
        return Tensor([range.count] + shape.dropFirst(), storage: storage, offset: offset + range.lowerBound * columns)
    }

    /// The same values under another shape of as many elements.
    ///
    /// - Throws: `LyraError.argument` if the counts differ.
    public func reshaped(_ shape: [Int]) throws -> Tensor {
        guard shape.reduce(1, *) == count else {
            throw LyraError(.argument, "a tensor of shape \(self.shape) cannot be seen as \(shape)")
        }
        return Tensor(shape, storage: storage, offset: offset)
    }

    /// Reads all values; the pointer is valid during the call.
    public func withValues<R>(_ body: (UnsafePointer<Float>) throws -> R) rethrows -> R {
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafePointer(storage.base + offset))
    }

    /// Writes values: into this memory if nobody else holds it, otherwise into a copy.
    ///
    /// - Throws: `LyraError.memory` if there is no room for a copy; `.state` if the work was interrupted, after which the
    ///   values are anything; and what `body` throws.
    public mutating func withMutableValues<R>(_ body: (UnsafeMutablePointer<Float>) throws -> R) throws -> R {
        if !isKnownUniquelyReferenced(&storage) {
            self = try Tensor(shape) { copy in try withValues { try Tensor.copy(count, from: $0, to: copy) } }
        }
        defer { withExtendedLifetime(storage) {} }
        let result = try body(storage.base + offset)
        try Interruption.check()
        return result
    }

    /// Elements that are handled between two looks at whether the work is interrupted.
    private static let piece = 1 << 20

    /// Runs `body` for the pieces of `count` elements, in their order.
    ///
    /// - Throws: `LyraError.state` if the work is interrupted.
    static func forEachPiece(of count: Int, _ body: (Range<Int>) -> Void) throws {
        for start in stride(from: 0, to: count, by: piece) {
            try Interruption.check()
            body(start..<min(count, start + piece))
        }
    }

    private static func copy(
        _ count: Int, from source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>
    ) throws {
        try forEachPiece(of: count) { (target + $0.lowerBound).update(from: source + $0.lowerBound, count: $0.count) }
    }

    /// Writes `new` over rows from `first` on; they must fit.
    ///
    /// - Throws: `LyraError.argument` if they do not.
    public mutating func replace(rowsFrom first: Int, with new: Tensor) throws {
        guard first >= 0, new.rows <= rows - first, new.columns == columns else {
            throw LyraError(.argument, "rows \(new.shape) do not fit at row \(first) of \(shape)")
        }
        let offset = first * columns
        try withMutableValues { target in
            try new.withValues { try Tensor.copy(new.count, from: $0, to: target + offset) }
        }
    }

    /// The rows that `indices` name, in that order, as a tensor of their own.
    ///
    /// - Throws: `LyraError.argument` for an index that is not a row.
    public func keepingRows(_ indices: some Collection<Int32>) throws -> Tensor {
        if let wrong = indices.first(where: { !(0..<rows).contains(Int($0)) }) {
            throw LyraError(.argument, "row \(wrong) is not in a tensor of shape \(shape)")
        }
        return try Tensor([indices.count] + shape.dropFirst()) { out in
            try withValues { values in
                for (row, index) in indices.enumerated() {
                    if row % 1024 == 0 { try Interruption.check() }
                    (out + row * columns).update(from: values + Int(index) * columns, count: columns)
                }
            }
        }
    }

    /// A function of every value, one by one.
    public func mapped(_ function: (Float) -> Float) throws -> Tensor {
        try Tensor(shape) { out in
            try withValues { values in
                try Tensor.forEachPiece(of: count) { for i in $0 { out[i] = function(values[i]) } }
            }
        }
    }

    public var values: [Float] {
        withValues { Array(UnsafeBufferPointer(start: $0, count: count)) }
    }
}
