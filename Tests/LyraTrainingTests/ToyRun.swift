import LyraBase
import LyraTensor
import Testing

@testable import LyraTraining

/// y of x, for a linear regression.
struct Point: Sendable {
    let x: [Float]
    let y: Float
}

/// ½ Σ (w · x − y)² / points, and a second part without gradient: Σ |y| / points with y above 0.
final class Regression: Objective {
    let parts = [LossPart("square", weight: 0.5), LossPart("size", weight: 0)]
    let weight: TrainableParameter
    /// The share of a random number that each prediction is moved by, as dropout would.
    let noise: Float
    /// Called with the number of the batch before it is computed.
    var beforeBatch: (Int) throws -> Void = { _ in }
    /// Added to the gradient of a batch.
    var disturbance: (Int) -> Float = { _ in 0 }
    /// Whether the weight gets a gradient.
    var isReached = true
    private var batches = 0

    init(inputs: Int, noise: Float = 0) throws {
        weight = try TrainableParameter("w", Tensor(zeros: [1, inputs]))
        self.noise = noise
    }

    func terms(of example: Point) -> [Int] { [1, example.y > 0 ? 1 : 0] }

    func differentiate(
        _ examples: [Point], totals: [Int], seed: UInt64, observer: (any GradientObserver)?
    ) throws -> [Double] {
        defer { batches += 1 }
        try beforeBatch(batches)
        var random = SplitMix64(seed: seed)
        let x = try inputs(examples)
        var residuals = try predictions(x, examples)
        for index in residuals.indices { residuals[index] += noise * Float(random.nextNormal()) }
        let extra = disturbance(batches)
        let scale = 2 * Float(parts[0].weight) / Float(totals[0])
        if isReached {
            try weight.weight.addGradient(
                Tensor([examples.count, 1], residuals.map { $0 * scale + extra }), x: x)
        }
        return sums(residuals, examples)
    }

    func evaluate(_ examples: [Point]) throws -> [Double] {
        sums(try predictions(inputs(examples), examples), examples)
    }

    private func inputs(_ examples: [Point]) throws -> Tensor {
        try Tensor([examples.count, examples[0].x.count], examples.flatMap(\.x))
    }

    private func predictions(_ x: Tensor, _ examples: [Point]) throws -> [Float] {
        zip(try weight.weight.product(x).values, examples).map { $0 - $1.y }
    }

    private func sums(_ residuals: [Float], _ examples: [Point]) -> [Double] {
        [
            residuals.reduce(0) { $0 + Double($1) * Double($1) },
            examples.filter { $0.y > 0 }.reduce(0) { $0 + Double($1.y) },
        ]
    }
}

/// Points in batches, shuffled anew in each epoch.
final class PointSource: BatchSource {
    let points: [Point]
    let size: Int
    let seed: UInt64?
    private(set) var position = 0
    var skipped = SkippedExamples()
    /// What it was asked to judge.
    private(set) var judged: [(bad: Int, seen: Int, endsEpoch: Bool)] = []
    private(set) var batchesMade = 0

    /// - Parameter seed: of the order; nil for the given order
    init(_ points: [Point], size: Int, seed: UInt64?) { (self.points, self.size, self.seed) = (points, size, seed) }

    var batchesPerEpoch: Int { (points.count + size - 1) / size }

    func move(to position: Int) { self.position = position }

    func checkShare(bad: Int, of seen: Int, endsEpoch: Bool) { judged.append((bad, seen, endsEpoch)) }

    func next() throws -> [Point] {
        try Interruption.check()
        defer { position += 1 }
        batchesMade += 1
        var order = points
        if let seed {
            var random = SplitMix64(seed: seed &+ UInt64(position / batchesPerEpoch))
            random.shuffle(&order)
        }
        let first = position % batchesPerEpoch * size
        return Array(order[first..<min(first + size, order.count)])
    }
}

/// A regression on 20 points of 5 numbers.
struct ToyRun {
    static let inputs = 5

    static var points: [Point] {
        get throws {
            let x = try normal([20, inputs], seed: 1).values, noise = try normal([20], seed: 2).values
            return (0..<20).map { index in
                let row = Array(x[index * inputs..<(index + 1) * inputs])
                return Point(
                    x: row, y: row.enumerated().reduce(0.3 * noise[index]) { $0 + Float($1.offset) * $1.element })
            }
        }
    }

    let objective: Regression
    let trainer: Trainer<Regression, PointSource>

    var weights: [Float] { objective.weight.tensor.values }

    init(
        noise: Float = 0, size: Int = 4, accumulation: Int = 1, length: TrainerSettings.Length = .epochs(3),
        isShuffled: Bool = true, validates: Bool = false, bytes: Int = 0,
        group: any ProcessGroup = SingleProcess(), change: (inout TrainerSettings) -> Void = { _ in }
    ) throws {
        var settings = TrainerSettings(groups: [Optimizer.Group(learningRate: 0.05, weightDecay: 0.01)], length: length)
        settings.accumulation = accumulation
        settings.warmupShare = 0.1
        settings.clipping = 2
        settings.seed = 9
        settings.validationInterval = 4
        change(&settings)
        let points = try ToyRun.points, objective = try Regression(inputs: Self.inputs, noise: noise)
        self.objective = objective
        let validation = PointSource(Array(points.prefix(7)), size: 3, seed: nil)
        trainer = try Trainer(
            objective, PointSource(points, size: size, seed: isShuffled ? 3 : nil),
            parameters: [TrainedParameter("w", objective.weight)], settings: settings,
            validation: validates
                ? ValidationSet(validation, accuracies: ["exact_match"]) { batch in
                    [LossSum(sum: Double(batch.count { $0.y > 0 }), count: batch.count)]
                } : nil,
            group: group, length: { $0.x.count }, bytes: { _ in bytes })
    }
}
