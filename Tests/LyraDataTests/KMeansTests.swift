import LyraBase
import LyraTensor
import Testing

@testable import LyraData

private func normal(_ count: Int, _ random: inout SplitMix64) -> [Double] {
    (0..<count).map { _ in random.nextNormal() }
}

@Suite struct KMeansTests {
    private static let width = 5

    /// Rows around `clusters` centres that are ±8 along the axes, with deviation 0.5, far from zero. → rows, labels
    private func rows(_ clusters: Int, each: Int, seed: UInt64) throws -> (Tensor, [Int]) {
        var random = SplitMix64(seed: seed)
        var values: [Float] = [], labels: [Int] = []
        for row in 0..<clusters * each {
            let label = row % clusters
            for (column, noise) in normal(Self.width, &random).enumerated() {
                let centre = column == label / 2 ? (label % 2 == 0 ? 8.0 : -8.0) : 0
                values.append(Float(1000 + centre + 0.5 * noise))
            }
            labels.append(label)
        }
        return (try Tensor([clusters * each, Self.width], values), labels)
    }

    /// Lloyd's algorithm in F64, by definition.
    private func reference(_ rows: [[Double]], _ first: [[Double]], iterations: Int) -> [[Double]] {
        var centroids = first
        for _ in 0..<iterations {
            let nearest = rows.map { row in
                centroids.indices.min { a, b in
                    func distance(_ index: Int) -> Double {
                        zip(row, centroids[index]).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
                    }
                    return distance(a) < distance(b)
                } ?? 0
            }
            for index in centroids.indices {
                let members = zip(rows, nearest).filter { $0.1 == index }.map(\.0)
                guard !members.isEmpty else { continue }
                centroids[index] = centroids[index].indices.map { column in
                    members.reduce(0) { $0 + $1[column] } / Double(members.count)
                }
            }
        }
        return centroids
    }

    private func matrix(_ tensor: Tensor) -> [[Double]] {
        let values = tensor.values.map(Double.init)
        return (0..<tensor.rows).map { Array(values[$0 * tensor.columns..<($0 + 1) * tensor.columns]) }
    }

    @Test func knownClustersAreFound() throws {
        let (rows, labels) = try rows(10, each: 30, seed: 1)
        let first = try KMeans.first(rows, count: 10, seed: 1) { _ in }
        var distances: [Double] = []
        let centroids = try KMeans.refine(rows, from: first, iterations: 50, tolerance: 0) {
            distances.append($0.distance)
        }
        let units = try NearestCentroid(centroids)(rows).indices
        // The same label always has the same unit, and different labels have different ones.
        #expect(Set(zip(labels, units).map { "\($0) \($1)" }).count == 10 && Set(units).count == 10)
        // The variance of five columns with deviation 0.5 is 1.25; its standard error over 300 rows is 0.05.
        #expect(abs((distances.last ?? 0) - 1.25) < 0.2)
        #expect(zip(distances, distances.dropFirst()).allSatisfy { $0 >= $1 * (1 - 1e-3) })
    }

    /// Three iterations from the same centroids, on rows without clusters. F32's rounding of numbers around 20 moves a
    /// mean by less than 1e-5.
    @Test func iterationsAreLloyds() throws {
        var random = SplitMix64(seed: 5)
        let rows = try Tensor([200, 4], normal(800, &random).map { Float(20 + 3 * $0) })
        let first = try KMeans.first(rows, count: 7, seed: 2) { _ in }
        let got = try KMeans.refine(rows, from: first, iterations: 3, tolerance: 0) { _ in }
        let want = reference(matrix(rows), matrix(first), iterations: 3)
        let worst = zip(matrix(got).flatMap(\.self), want.flatMap(\.self)).map { abs($0 - $1) }.max() ?? .infinity
        #expect(worst < 1e-5)
    }

    /// The first centroids spread over clusters of very different sizes: with k-means++ the chance to miss one of two
    /// far clusters is below 1 in 1,000 here, with uniform choice nearly 1.
    @Test func firstCentroidsSpread() throws {
        var values = [Float](repeating: 0, count: 1000)
        values[500] = 1e4
        values[700] = -1e4
        var random = SplitMix64(seed: 3)
        for index in values.indices { values[index] += Float(random.nextNormal()) }
        for seed in 1...5 {
            let first = try KMeans.first(Tensor([1000, 1], values), count: 3, seed: UInt64(seed)) { _ in }
            #expect(first.values.map { ($0 / 1e4).rounded() }.sorted() == [-1, 0, 1])
        }
    }

    @Test func theSameSeedGivesTheSameUnits() throws {
        let (rows, _) = try rows(6, each: 20, seed: 2)
        func train(_ seed: UInt64) throws -> [Float] {
            let first = try KMeans.first(rows, count: 9, seed: seed) { _ in }
            return try KMeans.refine(rows, from: first, iterations: 20, tolerance: 1e-4) { _ in }.values
        }
        #expect(try train(1) == train(1))
        #expect(try train(1) != train(2))
    }

    /// More units than different rows: every row still has a unit at distance 0, but for F32's rounding.
    @Test func equalRowsAreNoFault() throws {
        let rows = try Tensor([12, 2], (0..<24).map { Float($0 / 2 % 3) })
        let first = try KMeans.first(rows, count: 5, seed: 1) { _ in }
        let centroids = try KMeans.refine(rows, from: first, iterations: 10, tolerance: 0) { _ in }
        #expect(try NearestCentroid(centroids)(rows).distances.allSatisfy { $0 < 1e-5 })
        #expect(throws: LyraError.self) { try KMeans.first(rows, count: 13, seed: 1) { _ in } }
        let endless = try Tensor([3, 1], [1, .infinity, 2])
        #expect(throws: LyraError.self) {
            try KMeans.refine(endless, from: endless, iterations: 2, tolerance: 0) { _ in }
        }
    }

    /// Each of 1,000 rows is chosen with chance 1/10: 100 ± 30 of the first half would be 6 deviations off.
    @Test func sampledRowsAreSpread() throws {
        var sample = FrameSample(limit: 100, seed: 4)
        for start in stride(from: 0, to: 1000, by: 50) {
            try sample.add(Tensor([50, 2], (0..<100).map { Float(start + $0 / 2) }))
        }
        let rows = try sample.tensor()
        let firsts = Set(stride(from: 0, to: 200, by: 2).map { rows.values[$0] })
        #expect(sample.seen == 1000 && rows.shape == [100, 2] && firsts.count == 100)
        #expect((20...80).contains(firsts.count { $0 < 500 }))
        #expect(throws: LyraError.self) { try sample.add(Tensor([1, 3], [1, 2, 3])) }
    }

    @Test func aRecordingThatTurnsOutBadLeavesNoRows() throws {
        func rows(_ start: Int) throws -> Tensor { try Tensor([60, 2], (0..<120).map { Float(start + $0 / 2) }) }
        for limit in [50, 100, 1000] {
            var (with, without) = (FrameSample(limit: limit, seed: 4), FrameSample(limit: limit, seed: 4))
            for start in [0, 1000, 2000, 3000] {
                let error = #expect(throws: LyraError.self) {
                    try with.addRecording { sample in
                        try sample.add(rows(start + 500))
                        throw LyraError(.io, "pulled out")
                    }
                }
                #expect(error?.message == "pulled out")
                try with.addRecording { try $0.add(rows(start)) }
                try without.add(rows(start))
            }
            #expect(with.seen == 240 && with.count == without.count)
            #expect(try with.tensor().values == without.tensor().values)
        }
    }
}
