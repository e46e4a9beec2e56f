import LyraBase

/// A part of a computation that keeps only its inputs, and is computed again during backpropagation.
struct Recomputation {
    let inputs: [Tensor]
    /// The parameters that `body` uses, so that they count as operands.
    let leaves: [GradientNode]
    let body: ([Tensor]) throws -> Tensor

    func propagate(_ gradient: Tensor) throws {
        let copies = inputs.map { $0.isTracked ? $0.withNode(GradientNode($0.shape, .leaf)) : $0 }
        let result = try Recording.resumed { try body(copies) }
        try backpropagate([(result, gradient)])
        for (input, copy) in zip(inputs, copies) {
            if let gradient = copy.node?.gradient { try input.node?.add(gradient) }
        }
    }
}

/// body(inputs), of which only the inputs stay in memory until backpropagation computes `body` again (gradient
/// checkpointing, arXiv 1604.06174): memory for time.
///
/// - Parameter body: must compute the same values each time. Gradients flow to `inputs` and to parameters that `body`
///   uses; any other tensor with a history that it uses counts as a constant.
public func recomputing(_ inputs: [Tensor], _ body: @escaping ([Tensor]) throws -> Tensor) throws -> Tensor {
    guard Recording.isOn else { return try body(inputs) }
    let (result, leaves) = try Recording.listingLeaves { try body(inputs) }
    return result.detached.recorded(.recomputing(Recomputation(inputs: inputs, leaves: leaves, body: body)))
}
