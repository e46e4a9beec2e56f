import LyraBase

/// A mean with its 95 % confidence interval.
package struct Estimate: Equatable, Sendable {
    package var mean: Double
    package var low: Double
    package var high: Double
    /// Number of values.
    package var count: Int
}

/// Estimates how far a mean would vary with other items of the same kind (Efron's percentile bootstrap): computes the
/// mean of as many items, drawn with replacement, many times, and takes the 2.5th and 97.5th percentile of these means.
package struct Bootstrap: Sendable {
    package let resamples: Int
    package let seed: UInt64

    /// - Parameter resamples: at least 1
    package init(resamples: Int, seed: UInt64) { (self.resamples, self.seed) = (resamples, seed) }

    /// The estimate for some values; nil without values. The same values and seed give the same estimate.
    ///
    /// For the difference of two paired scores, pass the differences.
    package func estimate(_ values: [Double]) -> Estimate? {
        guard !values.isEmpty else { return nil }
        var random = SplitMix64(seed: seed)
        let count = Double(values.count)
        var means = (0..<resamples).map { _ in
            var sum = 0.0
            for _ in values.indices { sum += values[Int(random.next(below: UInt64(values.count)))] }
            return sum / count
        }
        means.sort()
        return Estimate(
            mean: values.reduce(0, +) / count, low: Self.percentile(0.025, of: means),
            high: Self.percentile(0.975, of: means), count: values.count)
    }

    /// The value at a share of the way through sorted values, interpolated linearly, as numpy's `percentile`.
    private static func percentile(_ share: Double, of sorted: [Double]) -> Double {
        let place = share * Double(sorted.count - 1)
        let below = min(Int(place), sorted.count - 1), above = min(below + 1, sorted.count - 1)
        return sorted[below] + (sorted[above] - sorted[below]) * (place - Double(below))
    }
}
