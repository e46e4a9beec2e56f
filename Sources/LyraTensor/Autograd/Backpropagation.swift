import LyraBase

/// Follows which gradients are complete while backpropagation still computes others.
public protocol GradientObserver: AnyObject {
    /// Backpropagation begins. It can add to the gradients of these leaves only; each will be passed to `didComplete`.
    func willReach(_ leaves: [GradientNode]) throws
    /// All uses of the leaf have added to its gradient.
    func didComplete(_ leaf: GradientNode) throws
}

/// Computes the gradients of a loss with respect to all parameters that contributed to `roots`, in reverse order of the
/// computation, and adds them to the gradients of the parameters' nodes. Releases the recorded operations on the way.
///
/// - Parameter roots: results of the computation, with the derivative of the loss with respect to each. A result to
///   which no parameter contributed is passed over.
/// - Parameter observer: is told of each leaf (parameter) once its gradient is complete
/// - Throws: `LyraError.argument` if a gradient does not fit its result; `.state` if the gradient of a result was
///   already computed, or if interrupted; `.memory` if there is no room; and what the observer throws.
public func backpropagate(
    _ roots: [(result: Tensor, gradient: Tensor)], observer: (any GradientObserver)? = nil
) throws {
    var nodes: [GradientNode] = []
    for (result, gradient) in roots {
        guard let node = result.node else { continue }
        guard gradient.count == result.count else {
            throw LyraError(.argument, "a gradient \(gradient.shape) does not fit a result \(result.shape)")
        }
        if case .spent = node.origin {
            throw LyraError(.state, "the gradient of this result was already computed; record the computation again")
        }
        try node.add(gradient)
        nodes.append(node)
    }
    let ordered = resultsBeforeOperands(of: nodes)
    try observer?.willReach(ordered.filter(\.isLeaf))
    for node in ordered {
        try Interruption.check()
        guard case .made(let operation) = node.origin else {
            if node.isLeaf { try observer?.didComplete(node) }
            continue
        }
        node.origin = .spent
        guard let gradient = try node.takeGradient() else { continue }
        try operation.propagate(gradient)
    }
}

/// All nodes that contribute to `roots`, each before its operands; leaves right after the last node that uses them.
private func resultsBeforeOperands(of roots: [GradientNode]) -> [GradientNode] {
    var finished: [GradientNode] = []
    var seen: Set<ObjectIdentifier> = []
    // A node is pushed twice: the second time, with nil operands left, all its operands are finished.
    var stack = roots.map { (node: $0, isExpanded: false) }
    while let (node, isExpanded) = stack.popLast() {
        if isExpanded {
            finished.append(node)
            continue
        }
        guard seen.insert(ObjectIdentifier(node)).inserted else { continue }
        stack.append((node, true))
        guard case .made(let operation) = node.origin else { continue }
        let operands = operation.operands.filter { !seen.contains(ObjectIdentifier($0)) }
        // Leaves are at the bottom of the stack, so that they finish last and come first in the reversed order.
        for operand in operands where operand.isLeaf { stack.append((operand, false)) }
        for operand in operands where !operand.isLeaf { stack.append((operand, false)) }
    }
    return finished.reversed()
}

extension Operation {
    /// Adds the gradients of the operands, given that of the result. The formulas stand beside the operations.
    fileprivate func propagate(_ gradient: Tensor) throws {
        switch self {
        case .view(let x, let rows, let columns): try x.add(gradient, rows: rows, columns: columns)
        case .reshape(let x): try x.add(gradient)
        case .stacking(let operands): try Tensor.propagateStacking(gradient, operands)
        case .replacing(let old, let rows, let new): try Tensor.propagateReplacing(gradient, old, rows, new)
        case .keepingRows(let x, let indices), .gathering(let x, let indices):
            try Tensor.propagateKeepingRows(gradient, x, indices)
        case .repeatingRows(let x, let count): try Tensor.propagateRepeatingRows(gradient, x, count)
        case .transposing(let x): try x.add(gradient.transposed())
        case .adding(let a, let b): try Tensor.propagateAdding(gradient, a, b)
        case .scaling(let x, let factor): try x.add(gradient.scaled(by: factor))
        case .products(let projections, let x, let residual, let lows):
            try residual?.add(gradient)
            try projections.propagate(gradient, x: x, lows: lows)
        case .rmsNorm(let x, let weight, let epsilon):
            try x.propagateRMSNorm(gradient, weight: weight, epsilon: epsilon)
        case .layerNorm(let x, let weight, let bias, let epsilon):
            try x.propagateLayerNorm(gradient, weight: weight, bias: bias, epsilon: epsilon)
        case .unitRows(let x, let result, let lengths): try result.propagateUnitRows(gradient, to: x, lengths: lengths)
        case .siluProduct(let gate, let up): try Tensor.propagateSiluProduct(gradient, gate: gate, up: up)
        case .activation(let activation, let x): try x.propagateActivation(gradient, activation)
        case .leakyRelu(let x, let slope, let result): try result.propagateLeakyRelu(gradient, to: x, slope: slope)
        case .tanh(let x, let result): try result.propagateTanh(gradient, to: x)
        case .rotation(let x, let rotation, let heads): try x.add(gradient.rotated(rotation.inverse(), heads: heads))
        case .attention(let record): try record.propagate(gradient)
        case .unfoldingRows(let x, let kernel, let stride):
            try Tensor.propagateUnfoldingRows(gradient, x, kernel: kernel, stride: stride)
        case .unfoldingSquares(let x, let kernel, let stride):
            try Tensor.propagateUnfoldingSquares(gradient, x, kernel: kernel, stride: stride)
        case .joiningColumns(let operands): try Tensor.propagateJoiningColumns(gradient, operands)
        case .convolution(let record): try record.propagate(gradient)
        case .transposedConvolution(let record): try record.propagate(gradient)
        case .weightNorm(let vectors, let gains): try vectors.propagateWeightNorm(gradient, gains: gains)
        case .recomputing(let part): try part.propagate(gradient)
        }
    }
}
