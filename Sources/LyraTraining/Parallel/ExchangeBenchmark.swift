import LyraBase
import LyraTensor

/// Checks that a group of processes sums gradients, and measures how fast.
public struct ExchangeBenchmark {
    private static let parameterCount = 24

    private let group: any ProcessGroup
    private let parameters: [TrainableParameter]
    private let exchange: GradientExchange

    /// - Parameter bytes: of all gradients together
    /// - Throws: `LyraError.memory` if there is no room.
    public init(_ group: any ProcessGroup, bytes: Int) throws {
        self.group = group
        let values = try Tensor(zeros: [bytes / MemoryLayout<Float>.stride / Self.parameterCount])
        parameters = try (0..<Self.parameterCount).map { try TrainableParameter("p\($0)", values) }
        exchange = GradientExchange(parameters, group: group)
    }

    /// One backward pass that is nothing but the exchange. → its seconds
    ///
    /// - Throws: `LyraError.io` if the processes cannot communicate, or if a sum is wrong.
    public func run() throws -> Double {
        for parameter in parameters { parameter.node.clearGradient() }
        try group.barrier()
        let start = MonotonicTime.seconds
        let roots = try parameters.indices.filter { isUsed($0, by: group.rank) }.map { index in
            let result = try parameters[index].tensor.scaled(by: factor(index, in: group.rank))
            return (result, try Tensor(result.shape) { $0.update(repeating: 1, count: result.count) })
        }
        try backpropagate(roots, observer: exchange.observer)
        try exchange.finish()
        let seconds = MonotonicTime.seconds - start
        try check()
        return seconds
    }

    /// Process 0 alone uses the second parameter, and nobody the first.
    private func isUsed(_ index: Int, by rank: Int) -> Bool { index == 0 ? false : index == 1 ? rank == 0 : true }

    /// The gradient of a parameter in a process: a small whole number, so that sums are exact.
    private func factor(_ index: Int, in rank: Int) -> Float { Float((index + 1) * (rank % 64 + 1)) }

    private func check() throws {
        for (index, parameter) in parameters.enumerated() {
            let users = (0..<group.count).filter { isUsed(index, by: $0) }
            let wanted = users.isEmpty ? nil : users.reduce(0) { $0 + factor(index, in: $1) }
            guard let gradient = parameter.gradient, let wanted else {
                if (parameter.gradient == nil) == (wanted == nil) { continue }
                throw LyraError(.io, "the processes' sum of gradient \(index) is there, or missing, against the rule")
            }
            let wrong = try gradient.withValues { values in (0..<gradient.count).first { values[$0] != wanted } }
            guard let wrong else { continue }
            throw LyraError(
                .io, "element \(wrong) of gradient \(index) is \(gradient[wrong]) after summation; it must be \(wanted)"
            )
        }
    }
}
