import LyraBase
import LyraTensor

/// Finds the nearest of some centroids for many rows at once.
///
/// With c' = c − m, where m is the centroids' mean, and
///
///     score(x, c) = x · c' − m · c' − ½‖c'‖²  =  ½‖x − m‖² − ½‖x − c‖²,
///
/// the nearest centroid has the highest score. Products with c' instead of c do not lose the differences between
/// centroids to rounding where all of them are far from zero, as hidden states are.
package struct NearestCentroid {
    package let count: Int
    package let width: Int
    private let weight: Weight
    /// −m · c' − ½‖c'‖², [count]
    private let offsets: Tensor
    /// m
    private let mean: [Double]

    /// Rows that one product takes: their scores for 1,000 centroids take 4 MB.
    private static let block = 1024

    /// - Parameter centroids: [count, width]
    package init(_ centroids: Tensor) throws {
        let (count, width) = (centroids.rows, centroids.columns)
        (self.count, self.width) = (count, width)
        var mean = [Double](repeating: 0, count: width)
        let storage = try FloatStorage(count: max(count * width, 1))
        var offsets = [Float](repeating: 0, count: count)
        try centroids.withValues { values in
            for row in 0..<count { for column in 0..<width { mean[column] += Double(values[row * width + column]) } }
            for column in 0..<width { mean[column] /= Double(max(count, 1)) }
            for row in 0..<count {
                var offset = 0.0
                for column in 0..<width {
                    // The product takes the rounded difference, so the offset must, too.
                    let difference = Float(Double(values[row * width + column]) - mean[column])
                    storage.base[row * width + column] = difference
                    offset -= mean[column] * Double(difference) + 0.5 * Double(difference) * Double(difference)
                }
                offsets[row] = Float(offset)
            }
        }
        self.mean = mean
        self.offsets = try Tensor([count], offsets)
        let bytes = UnsafeRawBufferPointer(start: storage.base, count: count * width * MemoryLayout<Float>.stride)
        weight = try Weight(
            StoredTensor(
                name: "centroids", type: .float32, shape: [count, width], bytes: bytes, owner: storage,
                source: "centroids"))
    }

    /// The number of the nearest centroid for each row of x [rows, width], the first of equals; and the squared
    /// distance to it.
    ///
    /// - Parameter check: called for each thousand rows; throws to stop
    package func callAsFunction(
        _ x: Tensor, check: () throws -> Void = {}
    ) throws -> (indices: [Int32], distances: [Float]) {
        guard x.columns == width else {
            throw LyraError(.argument, "frames of \(x.columns) numbers do not fit centroids of \(width)")
        }
        var indices: [Int32] = [], distances: [Float] = []
        for first in stride(from: 0, to: x.rows, by: Self.block) {
            try check()
            let rows = x.rows(first..<min(first + Self.block, x.rows))
            let scores = try weight.product(rows, bias: offsets)
            let best = scores.indicesOfLargest()
            try rows.withValues { values in
                for (row, index) in best.enumerated() {
                    let distance = distance(fromMean: values + row * width) - 2 * Double(scores[row * count + index])
                    indices.append(Int32(truncatingIfNeeded: index))
                    distances.append(Float(max(distance, 0)))
                }
            }
        }
        return (indices, distances)
    }

    /// ‖x − m‖²
    private func distance(fromMean x: UnsafePointer<Float>) -> Double {
        mean.withUnsafeBufferPointer { mean in
            var sum = 0.0
            for column in 0..<width {
                let difference = Double(x[column]) - mean[column]
                sum += difference * difference
            }
            return sum
        }
    }
}
