import LyraBase

/// A parameter that training changes in place. Every tensor and weight that the parameter gave out shows the new values
/// after an update.
public final class TrainableParameter: @unchecked Sendable {
    public let name: String
    public let node: GradientNode
    let storage: FloatStorage

    public var shape: [Int] { node.shape }
    public var count: Int { storage.count }
    /// The derivative of the loss, once backpropagation has reached the parameter.
    public var gradient: Tensor? { node.gradient }

    /// Takes the initial values from `values`.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    public init(_ name: String, _ values: Tensor) throws {
        self.name = name
        node = GradientNode(values.shape, .leaf)
        storage = try FloatStorage(count: values.count)
        try values.copyRows(to: storage.base, rowStride: values.columns)
    }

    /// The parameter as a tensor that shares its memory.
    public var tensor: Tensor { Tensor(shape, sharing: storage, node: node) }

    /// The parameter as the matrix of a product, which shares its memory. Axes after the first are inputs.
    public var weight: Weight { weight(for: .exact) }

    /// The same.
    ///
    /// - Parameter precision: of products with it and of their gradients; `fast` rounds both factors to BF16 where the
    ///   processor multiplies that faster
    public func weight(for precision: Precision) -> Weight { Weight(parameter: self, precision: precision) }

    /// Calls `body` with the values, to change them in place. No operation may run meanwhile.
    package func withValues<R>(_ body: (UnsafeMutablePointer<Float>) throws -> R) rethrows -> R {
        defer { withExtendedLifetime(storage) {} }
        return try body(storage.base)
    }
}

// MARK: - Gradients in memory of the caller

extension TrainableParameter {
    /// Moves the gradient into `memory`, to `count` floats from `first` on; writes zeros if there is none.
    ///
    /// - Returns: whether there was a gradient
    /// - Throws: `LyraError.state` if interrupted
    package func moveGradient(to memory: FloatStorage, at first: Int) throws -> Bool {
        let target = memory.base + first
        guard let gradient = node.gradient else {
            target.update(repeating: 0, count: count)
            return false
        }
        try gradient.copyRows(to: target, rowStride: gradient.columns)
        node.clearGradient()
        return true
    }

    /// Makes `count` floats of `memory` from `first` on the gradient, without a copy.
    package func setGradient(in memory: FloatStorage, at first: Int) {
        node.gradient = Tensor(
            shape, storage: memory, offset: first, rowStride: shape.dropFirst().reduce(1, *))
    }
}
