import LyraBase
import LyraTensor

/// Gradients of several parameters in one piece of memory, so that they are summed over the processes at once.
public final class GradientBucket: @unchecked Sendable {
    struct Part {
        let parameter: TrainableParameter
        /// Index of the parameter's first value.
        let first: Int
    }

    /// The gradients, then for each parameter the number of processes in which a gradient arrived.
    package let values: FloatStorage
    fileprivate let parts: [Part]

    /// Moves the gradients of the parameters into the bucket; zeros where there is none.
    fileprivate init(moving parts: [Part], count: Int) throws {
        self.parts = parts
        values = try FloatStorage(count: count + parts.count)
        for (index, part) in parts.enumerated() {
            let hasGradient = try part.parameter.moveGradient(to: values, at: part.first)
            values.base[count + index] = hasGradient ? 1 : 0
        }
    }

    /// Gives the gradients back. A parameter without a gradient in any process gets none.
    fileprivate func restore() {
        let arrived = values.base + values.count - parts.count
        for (index, part) in parts.enumerated() where arrived[index] > 0 {
            part.parameter.setGradient(in: values, at: part.first)
        }
    }
}

/// Sums the gradients of all processes while backpropagation computes the rest.
///
/// The parameters are divided into buckets, the last ones of the forward pass first, because backpropagation completes
/// their gradients first (as in PyTorch's DistributedDataParallel, arXiv 2006.15704). As soon as all gradients of a
/// bucket are complete, its sum begins. Buckets have a fixed order, because all processes must exchange the same one.
/// A parameter that no example of this process used counts as one with a gradient of zeros.
///
///     let exchange = GradientExchange(parameters, group: group)
///     // Without accumulation, or for its last batch; the batches before have no observer.
///     try backpropagate(roots, observer: exchange.observer)
///     try exchange.finish()
///     // Now each gradient is that of the examples of all processes together.
public final class GradientExchange: GradientObserver {
    private struct Plan {
        var parts: [GradientBucket.Part] = []
        /// Values of all gradients together.
        var count = 0
        /// Parameters whose gradient is not complete.
        var incomplete = 0
    }

    private let group: any ProcessGroup
    private var plans: [Plan] = []
    /// The bucket of each parameter's gradient.
    private var bucket: [ObjectIdentifier: Int] = [:]
    private var sent: [GradientBucket] = []

    /// - Parameters:
    ///   - parameters: all that are trained, in the same order in all processes; best in the order in which the forward
    ///     pass uses them
    ///   - bucketBytes: a bucket is complete when its gradients have this size: large enough to be sent quickly, small
    ///     enough that the first is sent early
    public init(_ parameters: [TrainableParameter], group: any ProcessGroup, bucketBytes: Int = 8 << 20) {
        self.group = group
        let enough = bucketBytes / MemoryLayout<Float>.stride
        for parameter in parameters.reversed() {
            if plans.last.map({ $0.count >= enough }) ?? true { plans.append(Plan()) }
            let last = plans.count - 1
            plans[last].parts.append(.init(parameter: parameter, first: plans[last].count))
            plans[last].count += parameter.count
            bucket[ObjectIdentifier(parameter.node)] = last
        }
        reset()
    }

    /// For backpropagation. Nil if there is no other process.
    public var observer: (any GradientObserver)? { group.count > 1 ? self : nil }

    private func reset() {
        sent = []
        for index in plans.indices { plans[index].incomplete = plans[index].parts.count }
    }

    /// All other parameters have their gradients already.
    public func willReach(_ leaves: [GradientNode]) throws {
        for index in plans.indices { plans[index].incomplete = 0 }
        for leaf in leaves {
            if let index = bucket[ObjectIdentifier(leaf)] { plans[index].incomplete += 1 }
        }
        try sendComplete()
    }

    public func didComplete(_ leaf: GradientNode) throws {
        guard let index = bucket[ObjectIdentifier(leaf)] else { return }
        plans[index].incomplete -= 1
        try sendComplete()
    }

    private func sendComplete() throws {
        while sent.count < plans.count, plans[sent.count].incomplete == 0 { try sendNext() }
    }

    private func sendNext() throws {
        let plan = plans[sent.count]
        let next = try GradientBucket(moving: plan.parts, count: plan.count)
        sent.append(next)
        try group.begin(sum: next)
    }

    /// Sends what is left, waits for the sums, and gives them to the parameters as their gradients. All processes call
    /// this once for each update, also those without an example.
    ///
    /// - Throws: `LyraError.io` if the processes cannot communicate, `.memory` if there is no room for a bucket,
    ///   `.state` if interrupted. The other processes then wait: end them with `ProcessGroup.abort`.
    public func finish() throws {
        guard group.count > 1 else { return }
        while sent.count < plans.count { try sendNext() }
        try group.finishAll()
        for bucket in sent { bucket.restore() }
        reset()
    }
}
