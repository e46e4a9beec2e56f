import LyraBase

/// A tensor's place in a computation that is differentiated: the operation that made the tensor, and the gradient that
/// has reached it.
///
/// A tensor has a node if a trainable parameter contributed to it while recording was on. Every other tensor has none,
/// and operations on it record nothing.
public final class GradientNode: @unchecked Sendable {
    enum Origin {
        /// A parameter, or an input of a recomputed part: gradients end here.
        case leaf
        case made(by: Operation)
        /// The gradient went on to the operands; the operation and what it kept are released.
        case spent
    }

    public let shape: [Int]
    var origin: Origin
    /// The derivative of the loss with respect to the tensor, summed over the uses that backpropagation has reached;
    /// nil before the first.
    public internal(set) var gradient: Tensor?

    init(_ shape: [Int], _ origin: Origin) { (self.shape, self.origin) = (shape, origin) }

    var rows: Int { shape.first ?? 1 }
    var columns: Int { shape.dropFirst().reduce(1, *) }

    /// Adds to the gradient.
    func add(_ new: Tensor) throws {
        guard let sum = gradient.take() else {
            gradient = try new.reshaped(shape)
            return
        }
        gradient = try sum.adding(new)
    }

    /// Adds to the gradient of some rows and columns; nil means all.
    func add(_ new: Tensor, rows: Range<Int>? = nil, columns: Range<Int>? = nil) throws {
        let (rows, columns) = (rows ?? 0..<self.rows, columns ?? 0..<self.columns)
        if rows.count == self.rows && columns.count == self.columns { return try add(new) }
        var sum = try gradient.take() ?? Tensor(zeros: shape)
        try sum.add(new, atRow: rows.lowerBound, column: columns.lowerBound)
        gradient = sum
    }

    /// Lets `body` add to the gradient in place; it starts with zeros.
    func accumulate(_ body: (_ gradient: UnsafeMutablePointer<Float>) throws -> Void) throws {
        var sum = try gradient.take() ?? Tensor(zeros: shape)
        try sum.withMutableValues(body)
        gradient = sum
    }

    /// Forgets the gradient of a leaf, so that the next can be computed.
    public func clearGradient() { gradient = nil }
}

/// Whether operations on tensors with nodes are recorded.
public enum Recording {
    @TaskLocal static var isOn = true

    /// Runs `body` without recording: for evaluation, and for parts that are computed again during backpropagation.
    public static func paused<R>(_ body: () throws -> R) rethrows -> R { try $isOn.withValue(false) { try body() } }

    static func resumed<R>(_ body: () throws -> R) rethrows -> R { try $isOn.withValue(true) { try body() } }
}

extension Tensor {
    /// Whether a gradient can reach this tensor.
    public var isTracked: Bool { node != nil }

    /// The same values without their history.
    public var detached: Tensor { withNode(nil) }

    /// The same tensor as the result of `operation`, if recording is on. Call this only if an operand has a node.
    func recorded(_ operation: @autoclosure () -> Operation) -> Tensor {
        Recording.isOn ? withNode(GradientNode(shape, .made(by: operation()))) : self
    }
}

extension GradientNode? {
    /// Lets `body` add to the node's gradient in place; passes nil without a node.
    func accumulating(_ body: (UnsafeMutablePointer<Float>?) throws -> Void) throws {
        guard let node = self else { return try body(nil) }
        try node.accumulate { try body($0) }
    }
}
