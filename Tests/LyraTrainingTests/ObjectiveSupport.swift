import Foundation
import LyraBase
import LyraModel
import LyraTensor
import LyraTools
import Testing

@testable import LyraTraining

/// A checkpoint of random weights with two layers in each network, removed with the last reference.
final class SmallCheckpoint {
    let path = NSTemporaryDirectory() + "lyra-training-\(UUID().uuidString)"

    /// - Parameter contextRows: `speech_generator_context_rows`; nil for no such key
    init(contextRows: Int? = nil) throws {
        try CheckpointWriter(directory: path, preset: .tiny.limited(toLayers: 2), seed: 1).write()
        guard let contextRows else { return }
        let file = path + "/config.json", key = "\"ctc_upsample_factor\""
        let text = try String(contentsOfFile: file, encoding: .utf8)
        try text.replacingOccurrences(of: key, with: "\"speech_generator_context_rows\": \(contextRows), \(key)")
            .write(toFile: file, atomically: true, encoding: .utf8)
    }

    deinit { try? FileManager.default.removeItem(atPath: path) }
}

/// A checkpoint of which some parameters are trained.
struct TrainedModel {
    let checkpoint: Checkpoint
    let trainables: TrainableParameters
    let selection: TrainableSelection

    /// - Parameter path: by default fixture a
    init(
        _ names: [String], adapter: String? = nil, groups: [[String]] = [], path: String = Golden.path("a/lyra")
    ) throws {
        selection = try TrainableSelection(names, adapter: adapter, groups: groups)
        trainables = TrainableParameters(selection)
        var options = CheckpointOptions()
        (options.trainables, options.precision) = (trainables, .exact)
        checkpoint = try Checkpoint.open(path, options: options)
    }

    func parameter(_ part: ModelPart, _ name: String) throws -> TrainableParameter {
        try #require(trainables.elements.first { $0.part == part && $0.name.hasSuffix(name) }, "\(name)").parameter
    }

    func clearGradients() { for element in trainables.elements { element.parameter.node.clearGradient() } }

    /// The gradients by part and name; moves them out, so that the next start at nothing.
    func takeGradients() -> [String: Tensor] {
        defer { clearGradients() }
        return Dictionary(
            uniqueKeysWithValues: trainables.elements.compactMap { element in
                element.parameter.gradient.map { ("\(element.part) \(element.name)", $0) }
            })
    }
}

extension TrainingExample {
    init(_ pieces: [Piece], transcript: [Int32]? = nil, units: [Int32]? = nil, origin: String = "item") {
        self.init(pieces: pieces, transcript: transcript, units: units, origin: origin, length: 1)
    }
}

extension Objective {
    /// Terms of each part in all examples.
    func totals(_ examples: [Example]) -> [Int] {
        examples.reduce(parts.map { _ in 0 }) { zip($0, terms(of: $1)).map(+) }
    }

    /// What a run minimizes, given the sums of the parts.
    func value(_ sums: [Double], totals: [Int]) -> Double {
        zip(parts, zip(sums, totals)).reduce(0) { $0 + $1.0.weight * $1.1.0 / Double(max($1.1.1, 1)) }
    }
}

/// Compares gradients with derivatives along them. The losses are those of training, with the dropout of one seed.
func checkGradients<O: Objective>(
    of parameters: [TrainableParameter], _ model: TrainedModel, _ objective: O, _ examples: [O.Example]
) throws {
    let totals = objective.totals(examples)
    func loss() throws -> Double {
        defer { model.clearGradients() }
        return objective.value(try objective.differentiate(examples, totals: totals, seed: 7), totals: totals)
    }
    _ = try objective.differentiate(examples, totals: totals, seed: 7)
    let gradients = try parameters.map { try #require($0.gradient, "\($0.name)") }
    model.clearGradients()
    for (parameter, gradient) in zip(parameters, gradients) {
        try checkDerivative(along: gradient, of: parameter, loss: loss)
    }
}

/// Updates all trained parameters with their gradients.
struct TrainingLoop {
    let model: TrainedModel
    private var optimizer: Optimizer

    init(_ model: TrainedModel, rate: Double) throws {
        self.model = model
        optimizer = try Optimizer(groups: [Optimizer.Group(learningRate: rate)])
        for element in model.trainables.elements {
            try optimizer.add("\(element.part) \(element.name)", shape: element.parameter.shape)
        }
    }

    mutating func update(rateFactor: Double) throws {
        for element in model.trainables.elements {
            guard let gradient = element.parameter.gradient else { continue }
            var values = element.parameter.tensor.detached
            try optimizer.update(
                "\(element.part) \(element.name)", &values, gradient: gradient, rateFactor: rateFactor)
            try values.withValues { new in
                element.parameter.withValues { $0.update(from: new, count: element.parameter.count) }
            }
        }
        model.clearGradients()
    }
}

/// The derivative along one direction, from two losses beside each other: the parameter moves along its gradient g by
/// ±h · g / ‖g‖, so the difference quotient is ‖g‖.
func checkDerivative(along gradient: Tensor, of parameter: TrainableParameter, loss: () throws -> Double) throws {
    let norm = try GradientClipping.norm([gradient])
    #expect(norm > 0, "\(parameter.name)")
    let step = 0.01 / norm  // changes the loss by 0.01
    func move(_ distance: Double) throws {
        try gradient.withValues { gradient in
            parameter.withValues { values in
                for i in 0..<parameter.count { values[i] += Float(distance / norm) * gradient[i] }
            }
        }
    }
    try move(step)
    let after = try loss()
    try move(-2 * step)
    let before = try loss()
    try move(step)
    // Floats give six digits of the losses, which are 0.02 apart.
    #expect(abs((after - before) / (2 * step) - norm) < 0.03 * norm, "\(parameter.name)")
}
