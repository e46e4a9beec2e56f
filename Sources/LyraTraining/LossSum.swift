/// A loss as a sum over terms (tokens, examples) and their number, so that the sums and numbers of several batches or
/// processes can be added before they are divided.
public struct LossSum: Sendable, Equatable {
    public var sum: Double
    public var count: Int

    public init(sum: Double = 0, count: Int = 0) { (self.sum, self.count) = (sum, count) }

    /// sum / count; nil if there are no terms.
    public var mean: Double? { count > 0 ? sum / Double(count) : nil }

    public static func + (a: LossSum, b: LossSum) -> LossSum {
        LossSum(sum: a.sum + b.sum, count: a.count + b.count)
    }

    public static func += (total: inout LossSum, more: LossSum) { total = total + more }
}
