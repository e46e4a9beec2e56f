import CKernels
import LyraBase

/// A row-major tensor of floats.
///
/// A tensor is a value: operations make new tensors, and nothing writes into memory that another tensor still reads.
/// `rows` and `columns` make views without a copy. In a view of columns, the rows are not contiguous; every operation
/// accepts such views.
/// An operation that takes a tensor as `consuming` may reuse its memory for the result if no other tensor shares it.
///
/// Operations throw `LyraError.argument` for shapes that do not fit: networks check the shapes of a file before they
/// use them, so such a shape is the caller's mistake. `LyraError.format` means that numbers or counts of a file are
/// wrong.
public struct Tensor: @unchecked Sendable {
    /// The length of each axis. The first axis is the rows; all other axes together are the columns.
    /// `FloatStorage.count(of:)` has checked that no product of axes overflows.
    public let shape: [Int]
    private var storage: FloatStorage
    private let offset: Int
    /// Floats from the start of one row to the start of the next. Elements within a row are contiguous.
    let rowStride: Int
    /// The tensor's place in a computation that is differentiated; nil otherwise.
    private(set) var node: GradientNode?

    init(_ shape: [Int], storage: FloatStorage, offset: Int, rowStride: Int, node: GradientNode? = nil) {
        (self.shape, self.storage, self.offset, self.rowStride) = (shape, storage, offset, rowStride)
        self.node = node
    }

    /// All elements of `storage`, which the tensor shares with a parameter.
    init(_ shape: [Int], sharing storage: FloatStorage, node: GradientNode) {
        self.init(
            shape, storage: storage, offset: 0, rowStride: shape.dropFirst().reduce(1, *), node: node)
    }

    /// Makes a tensor of `shape`; `fill` must write every element.
    ///
    /// - Throws: `LyraError.memory` if there is no room, `.state` if `fill` was interrupted, and any error of `fill`.
    package init(_ shape: [Int], fill: (UnsafeMutablePointer<Float>) throws -> Void) throws {
        let storage = try FloatStorage(count: FloatStorage.count(of: shape))
        try fill(storage.base)
        try Interruption.check()
        self.init(shape, storage: storage, offset: 0, rowStride: shape.dropFirst().reduce(1, *))
    }

    /// Makes two tensors at once; `fill` must write every element of both.
    ///
    /// - Throws: the same errors.
    static func pair(
        _ first: [Int], _ second: [Int],
        fill: (_ first: UnsafeMutablePointer<Float>, _ second: UnsafeMutablePointer<Float>) throws -> Void
    ) throws -> (Tensor, Tensor) {
        let storage = try FloatStorage(count: FloatStorage.count(of: second))
        let made = try Tensor(first) { try fill($0, storage.base) }
        let columns = second.dropFirst().reduce(1, *)
        return (made, Tensor(second, storage: storage, offset: 0, rowStride: columns))
    }

    /// Makes a matrix whose rows start `rowStride` floats apart; `fill` must write every element.
    init(rows: Int, columns: Int, rowStride: Int, fill: (UnsafeMutablePointer<Float>) throws -> Void) throws {
        let storage = try FloatStorage(count: FloatStorage.count(of: [rows, rowStride]))
        try fill(storage.base)
        try Interruption.check()
        self.init([rows, columns], storage: storage, offset: 0, rowStride: rowStride)
    }

    /// Makes a matrix [rows, columns] from a function of row and column.
    ///
    /// - Throws: `LyraError.memory` if there is no room, `.state` if the work is interrupted.
    public init(rows: Int, columns: Int, element: (_ row: Int, _ column: Int) -> Float) throws {
        try self.init([rows, columns]) { out in
            for row in 0..<rows {
                if row % 64 == 0 { try Interruption.check() }
                for column in 0..<columns { out[row * columns + column] = element(row, column) }
            }
        }
    }

    public init(zeros shape: [Int]) throws {
        let count = try FloatStorage.count(of: shape)
        try self.init(shape) { base in
            try Tensor.forEachRange(of: count) { lk_clear(base + $0.lowerBound, $0.count) }
        }
    }

    /// - Throws: `LyraError.argument` if the number of values does not match `shape`.
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
}

// MARK: - Shape and views

extension Tensor {
    /// Length of the first axis.
    public var rows: Int { shape.first ?? 1 }
    /// Elements of one row.
    public var columns: Int { shape.dropFirst().reduce(1, *) }
    public var count: Int { shape.reduce(1, *) }

    /// Whether each row follows the previous one without a gap.
    var isContiguous: Bool { rowStride == columns || rows <= 1 }

    /// Rows `range` as a view of this tensor's memory.
    ///
    /// - Parameter range: within the tensor, computed by the caller and never read from outside data; as with an array,
    ///   any other range is an error in the program.
    public func rows(_ range: Range<Int>) -> Tensor {
        precondition(range.lowerBound >= 0 && range.upperBound <= rows, "rows outside the tensor")
        let view = Tensor(
            [range.count] + shape.dropFirst(), storage: storage, offset: offset + range.lowerBound * rowStride,
            rowStride: rowStride)
        guard let node else { return view }
        return view.recorded(.view(of: node, rows: range, columns: 0..<columns))
    }

    /// Columns `range` of every row as a view of this tensor's memory: [rows, range.count]
    ///
    /// - Parameter range: within the tensor, as for `rows(_:)`
    public func columns(_ range: Range<Int>) -> Tensor {
        precondition(range.lowerBound >= 0 && range.upperBound <= columns, "columns outside the tensor")
        let view = Tensor(
            [rows, range.count], storage: storage, offset: offset + range.lowerBound, rowStride: rowStride)
        guard let node else { return view }
        return view.recorded(.view(of: node, rows: 0..<rows, columns: range))
    }

    /// Splits the columns into adjacent views of these widths, which share this tensor's memory.
    ///
    /// - Throws: `LyraError.argument` if the widths do not add up to `columns`.
    public func split(columns widths: [Int]) throws -> [Tensor] {
        guard widths.allSatisfy({ $0 >= 0 }), widths.reduce(0, +) == columns else {
            throw LyraError(.argument, "rows of \(columns) cannot be split into \(widths)")
        }
        var start = 0
        return widths.map { width in
            defer { start += width }
            return columns(start..<start + width)
        }
    }

    /// The same values with another shape.
    ///
    /// - Throws: `LyraError.argument` if the element counts differ; `.memory` if the count overflows, or if the rows
    ///   are not contiguous and there is no room for a copy.
    public func reshaped(_ shape: [Int]) throws -> Tensor {
        guard try FloatStorage.count(of: shape) == count else {
            throw LyraError(.argument, "a tensor of shape \(self.shape) cannot be reshaped to \(shape)")
        }
        let whole = try contiguous()
        let result = Tensor(
            shape, storage: whole.storage, offset: whole.offset, rowStride: shape.dropFirst().reduce(1, *))
        guard let node else { return result }
        return result.recorded(.reshape(of: node))
    }

    /// The same values with another place in the computation.
    func withNode(_ node: GradientNode?) -> Tensor {
        Tensor(shape, storage: storage, offset: offset, rowStride: rowStride, node: node)
    }

    /// The same values with contiguous rows: this tensor if its rows are contiguous already, otherwise a copy.
    func contiguous() throws -> Tensor {
        if isContiguous { return Tensor(shape, storage: storage, offset: offset, rowStride: columns, node: node) }
        return try Tensor(shape) { try copyRows(to: $0, rowStride: columns) }.withNode(node)
    }

    /// The tensor whose columns these views are, side by side and in order; nil if they lie elsewhere.
    static func joining(columns parts: [Tensor]) -> Tensor? {
        guard let first = parts.first else { return nil }
        var width = 0
        for part in parts {
            guard part.storage === first.storage, part.rows == first.rows, part.rowStride == first.rowStride,
                part.offset == first.offset + width
            else { return nil }
            width += part.columns
        }
        return Tensor([first.rows, width], storage: first.storage, offset: first.offset, rowStride: first.rowStride)
    }

    /// Moves the values out and leaves an empty tensor, so that an operation can reuse the memory.
    public mutating func take() -> Tensor {
        let taken = self
        self = Tensor([0], storage: Tensor.nothing, offset: 0, rowStride: 1)
        return taken
    }

    private static let nothing = FloatStorage.empty
}

// MARK: - Reading and writing

extension Tensor {
    public var values: [Float] {
        var result: [Float] = []
        result.reserveCapacity(count)
        withMatrix { base, stride in
            for row in 0..<rows { result += UnsafeBufferPointer(start: base + row * stride, count: columns) }
        }
        return result
    }

    /// The element at `index` in row-major order.
    ///
    /// - Parameter index: from 0 to `count` - 1, computed by the caller, never read from untrusted data; as with an
    ///   array, any other index is a programming error.
    public subscript(index: Int) -> Float {
        precondition(index >= 0 && index < count, "index outside the tensor")
        let (row, column) = columns == 0 ? (0, 0) : index.quotientAndRemainder(dividingBy: columns)
        return withMatrix { base, stride in base[row * stride + column] }
    }

    /// Reads rows of `columns` floats, `stride` floats apart. The pointer is valid only during the call.
    func withMatrix<R>(_ body: (_ base: UnsafePointer<Float>, _ stride: Int) throws -> R) rethrows -> R {
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafePointer(storage.base + offset), rowStride)
    }

    /// Reads all values in row-major order. The pointer is valid only during the call.
    ///
    /// - Throws: `LyraError.memory` if the rows are not contiguous and there is no room for a copy, and any error of
    ///   `body`.
    package func withValues<R>(_ body: (UnsafePointer<Float>) throws -> R) throws -> R {
        try contiguous().withMatrix { base, _ in try body(base) }
    }

    /// Writes values: in place if no other tensor shares the memory, otherwise into a copy.
    ///
    /// - Throws: `LyraError.memory` if there is no room for a copy; `.state` if interrupted, which leaves the values
    ///   undefined; and any error of `body`.
    package mutating func withMutableValues<R>(_ body: (UnsafeMutablePointer<Float>) throws -> R) throws -> R {
        if !isContiguous || !isKnownUniquelyReferenced(&storage) {
            let shared = self
            self = try Tensor(shape) { try shared.copyRows(to: $0, rowStride: shared.columns) }
        }
        node = nil  // the new values have another history, which the operation records
        defer { withExtendedLifetime(storage) {} }
        let result = try body(storage.base + offset)
        try Interruption.check()
        return result
    }

    /// Copies every row to memory with rows `stride` floats apart.
    func copyRows(to target: UnsafeMutablePointer<Float>, rowStride stride: Int) throws {
        try withMatrix { base, own in
            guard own != columns || stride != columns else {
                return try Tensor.copy(count, from: base, to: target)
            }
            let together = max(1, Tensor.elementsPerCheck / max(columns, 1))
            for row in Swift.stride(from: 0, to: rows, by: together) {
                try Interruption.check()
                lk_copy_rows(
                    target + row * stride, stride, base + row * own, own, min(together, rows - row), columns)
            }
        }
    }

    /// Elements processed between two checks for interruption.
    private static let elementsPerCheck = 1 << 20

    /// Runs `body` for consecutive ranges of `count` elements.
    ///
    /// - Throws: `LyraError.state` if the work is interrupted.
    static func forEachRange(of count: Int, _ body: (Range<Int>) -> Void) throws {
        for start in stride(from: 0, to: count, by: elementsPerCheck) {
            try Interruption.check()
            body(start..<min(count, start + elementsPerCheck))
        }
    }

    private static func copy(
        _ count: Int, from source: UnsafePointer<Float>, to target: UnsafeMutablePointer<Float>
    ) throws {
        try forEachRange(of: count) {
            lk_copy_rows(target + $0.lowerBound, 0, source + $0.lowerBound, 0, 1, $0.count)
        }
    }
}
