import LyraBase
import LyraTensor

/// k-means: centroids that make the sum of squared distances of rows to their nearest centroid small (Lloyd, 1982).
///
/// The result follows from the rows and the seed, on one machine with one number of threads: products sum in an order
/// that can differ between processors.
package enum KMeans {
    /// The state after an iteration.
    package struct Progress: Sendable {
        package var iteration: Int
        /// Mean squared distance of a row to its nearest centroid, before the centroids moved.
        package var distance: Double
        /// Rows whose nearest centroid has changed.
        package var moved: Int
    }

    /// Rows for each centroid that the first centroids are chosen from.
    private static let seedRows = 16

    /// Chooses the first centroids among the rows: each with a chance in proportion to its squared distance to those
    /// chosen before (k-means++; Arthur and Vassilvitskii, 2007).
    ///
    /// - Parameters:
    ///   - rows: [rows, width]
    ///   - progress: receives how many are chosen; throws to stop
    /// - Returns: [count, width]
    /// - Throws: `LyraError.argument` if there are fewer rows than centroids.
    package static func first(
        _ rows: Tensor, count: Int, seed: UInt64, progress: (Int) throws -> Void
    ) throws -> Tensor {
        guard count >= 1, count <= rows.rows else {
            throw LyraError(
                .argument, "\(rows.rows) frames are too few for \(count) units; give more speech or fewer units")
        }
        var random = SplitMix64(seed: seed)
        // Rows of a sample are in the order of the stream, so its first rows would be of the first recordings alone.
        var candidates = (0..<rows.rows).map { Int32(truncatingIfNeeded: $0) }
        random.shuffle(&candidates)
        candidates.removeLast(max(0, candidates.count - max(seedRows.saturatingMultiplying(by: count), 4096)))
        let pool = try rows.keepingRows(candidates)
        var chosen: [Int32] = [Int32(random.next(below: UInt64(pool.rows)))]
        var nearest = [Float](repeating: .infinity, count: pool.rows)
        while chosen.count < count {
            try progress(chosen.count)
            let (_, distances) = try NearestCentroid(pool.keepingRows(chosen.suffix(1)))(pool)
            for (row, distance) in distances.enumerated() { nearest[row] = min(nearest[row], distance) }
            for row in chosen { nearest[Int(row)] = 0 }
            chosen.append(Int32(truncatingIfNeeded: pick(nearest, &random)))
        }
        return try pool.keepingRows(chosen)
    }

    /// An index, with a chance in proportion to its weight; any with equal chance if all weights are zero.
    private static func pick(_ weights: [Float], _ random: inout SplitMix64) -> Int {
        let total = weights.reduce(0.0) { $0 + Double($1) }
        guard total > 0, total.isFinite else { return Int(random.next(below: UInt64(weights.count))) }
        var rest = random.nextUnit() * total
        var last = 0
        for (index, weight) in weights.enumerated() where weight > 0 {
            rest -= Double(weight)
            last = index
            if rest < 0 { break }
        }
        return last
    }

    /// Moves centroids to the means of the rows that they are nearest to, again and again. A centroid that is nearest to
    /// no row moves to the row that is farthest from its centroid.
    ///
    /// - Parameters:
    ///   - rows: [rows, width]
    ///   - centroids: [count, width]
    ///   - iterations: at most
    ///   - tolerance: ends when the mean distance falls by less than this share
    ///   - progress: receives the state after each iteration; throws to stop
    ///   - check: called often; throws to stop
    /// - Returns: [count, width]
    package static func refine(
        _ rows: Tensor, from centroids: Tensor, iterations: Int, tolerance: Double,
        progress: (Progress) throws -> Void, check: () throws -> Void = {}
    ) throws -> Tensor {
        var centroids = centroids
        var before = [Int32](repeating: -1, count: rows.rows)
        var last = Double.infinity
        for iteration in 0..<iterations {
            let (indices, distances) = try NearestCentroid(centroids)(rows, check: check)
            let distance = distances.reduce(0.0) { $0 + Double($1) } / Double(max(rows.rows, 1))
            let moved = zip(indices, before).count { $0 != $1 }
            guard distance.isFinite else {
                throw LyraError(.format, "the frames contain numbers that are infinite or too large for distances")
            }
            try progress(Progress(iteration: iteration + 1, distance: distance, moved: moved))
            if moved == 0 || last - distance < tolerance * last && iteration > 0 { break }
            centroids = try means(rows, indices, distances, centroids)
            (before, last) = (indices, distance)
        }
        return centroids
    }

    /// The mean of the rows of each centroid.
    private static func means(
        _ rows: Tensor, _ indices: [Int32], _ distances: [Float], _ centroids: Tensor
    ) throws -> Tensor {
        let (count, width) = (centroids.rows, centroids.columns)
        let sums = try GrowingBuffer(repeating: 0.0, count: count * width)
        var members = [Int](repeating: 0, count: count)
        try rows.withValues { values in
            guard let sums = sums.elements.baseAddress else { return }
            for (row, index) in indices.enumerated() {
                members[Int(index)] += 1
                let sum = sums + Int(index) * width, value = values + row * width
                for column in 0..<width { sum[column] += Double(value[column]) }
            }
        }
        let empty = members.indices.filter { members[$0] == 0 }
        let farthest = empty.isEmpty ? [] : indices.indices.sorted { (-distances[$0], $0) < (-distances[$1], $1) }
        return try rows.withValues { values in
            try Tensor([count, width]) { out in
                for index in 0..<count {
                    let scale = 1 / Double(max(members[index], 1))
                    for element in index * width..<(index + 1) * width { out[element] = Float(sums[element] * scale) }
                }
                for (index, row) in zip(empty, farthest) {
                    (out + index * width).update(from: values + row * width, count: width)
                }
            }
        }
    }
}
