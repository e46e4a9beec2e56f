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

    /// Gradients of some columns that wait to be joined: operations on neighbouring columns often leave theirs in one
    /// buffer, which then becomes the gradient without a copy.
    private var parts: [(columns: Range<Int>, gradient: Tensor)] = []

    init(_ shape: [Int], _ origin: Origin) { (self.shape, self.origin) = (shape, origin) }

    var rows: Int { shape.first ?? 1 }
    var columns: Int { shape.dropFirst().reduce(1, *) }
    var isLeaf: Bool { if case .leaf = origin { true } else { false } }

    /// Adds to the gradient.
    func add(_ new: Tensor) throws {
        guard let sum = gradient.take() else {
            gradient = new.shape == shape ? new.detached : try new.reshaped(shape)
            return
        }
        gradient = try sum.adding(new)
    }

    /// Adds to the gradient of some rows and columns; nil means all.
    func add(_ new: Tensor, rows: Range<Int>? = nil, columns: Range<Int>? = nil) throws {
        let (rows, columns) = (rows ?? 0..<self.rows, columns ?? 0..<self.columns)
        if rows.count == self.rows && columns.count == self.columns { return try add(new) }
        if rows.count == self.rows, !isLeaf {
            parts.append((columns, new.detached))
            return
        }
        var sum = try gradient.take() ?? Tensor(zeros: shape)
        try sum.add(new, atRow: rows.lowerBound, column: columns.lowerBound)
        gradient = sum
    }

    /// Moves the whole gradient out.
    func takeGradient() throws -> Tensor? {
        guard !parts.isEmpty else { return gradient.take() }
        let waiting = parts.sorted { $0.columns.lowerBound < $1.columns.lowerBound }
        parts = []
        // No column is there twice.
        let areApart = zip(waiting, waiting.dropFirst()).allSatisfy { $0.columns.upperBound <= $1.columns.lowerBound }
        if gradient == nil, areApart, let joined = Tensor.joining(columns: waiting.map(\.gradient)),
            joined.columns == columns
        {
            return try joined.shape == shape ? joined : joined.reshaped(shape)
        }
        var sum = try gradient.take() ?? Tensor(zeros: shape)
        for (columns, part) in waiting { try sum.add(part, atRow: 0, column: columns.lowerBound) }
        return sum
    }

    /// Lets `body` add a product to the gradient in place.
    ///
    /// - Parameter body: adds to all elements, or writes them all unless the gradient `isFilled`
    func accumulateProduct(
        _ body: (_ gradient: UnsafeMutablePointer<Float>, _ isFilled: Bool) throws -> Void
    ) throws {
        guard var sum = gradient.take() else {
            gradient = try Tensor(shape) { try body($0, false) }
            return
        }
        try sum.withMutableValues { try body($0, true) }
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
    private enum State {
        case on, paused
        case listing(LeafList)
    }

    /// The leaves that operations use.
    private final class LeafList: @unchecked Sendable {
        private(set) var leaves: [GradientNode] = []
        private var known: Set<ObjectIdentifier> = []

        func add(_ nodes: [GradientNode]) {
            for node in nodes where node.isLeaf && known.insert(ObjectIdentifier(node)).inserted { leaves.append(node) }
        }
    }

    @TaskLocal private static var state = State.on

    static var isOn: Bool { if case .on = state { true } else { false } }

    /// Runs `body` without recording: for evaluation, and for parts that are computed again during backpropagation.
    public static func paused<R>(_ body: () throws -> R) rethrows -> R { try $state.withValue(.paused) { try body() } }

    static func resumed<R>(_ body: () throws -> R) rethrows -> R { try $state.withValue(.on) { try body() } }

    /// Runs `body` without recording, and lists the leaves that its operations use, each once.
    static func listingLeaves<R>(_ body: () throws -> R) rethrows -> (result: R, leaves: [GradientNode]) {
        let list = LeafList()
        let result = try $state.withValue(.listing(list)) { try body() }
        return (result, list.leaves)
    }

    /// Lists the leaves among the operands of an operation that is not recorded, if leaves are listed.
    static func list(_ operands: @autoclosure () -> [GradientNode]) {
        if case .listing(let list) = state { list.add(operands()) }
    }
}

extension Tensor {
    /// Whether a gradient can reach this tensor.
    public var isTracked: Bool { node != nil }

    /// The same values without their history.
    public var detached: Tensor { withNode(nil) }

    /// The same tensor as the result of `operation`, if recording is on. Call this only if an operand has a node.
    func recorded(_ operation: @autoclosure () -> Operation) -> Tensor {
        if Recording.isOn { return withNode(GradientNode(shape, .made(by: operation()))) }
        Recording.list(operation().operands)
        return self
    }
}

extension GradientNode? {
    /// Lets `body` add to the node's gradient in place; passes nil without a node.
    func accumulating(_ body: (UnsafeMutablePointer<Float>?) throws -> Void) throws {
        guard let node = self else { return try body(nil) }
        try node.accumulate { try body($0) }
    }
}
