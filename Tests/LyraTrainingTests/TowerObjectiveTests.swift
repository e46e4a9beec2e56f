import LyraBase
import LyraModel
import LyraTensor
import TestSupport
import Testing

@testable import LyraMedia
@testable import LyraTraining

@Suite struct TowerObjectiveTests {
    private let trainables = TrainableParameters { part, _ in part == .speechTower || part == .visionTower }
    private let checkpoint: Checkpoint

    init() throws {
        var options = CheckpointOptions()
        (options.trainables, options.precision) = (trainables, .exact)
        checkpoint = try Checkpoint.open(Golden.path("a/lyra"), options: options)
    }

    private func parameter(_ part: ModelPart, _ name: String) throws -> TrainableParameter {
        try #require(trainables.elements.first { $0.part == part && $0.name.hasSuffix(name) }).parameter
    }

    private func noise(_ rows: Int, _ columns: Int, seed: UInt64) throws -> Tensor {
        var random = SplitMix64(seed: seed)
        return try Tensor(rows: rows, columns: columns) { _, _ in Float(0.5 * random.nextNormal()) }
    }

    private func checkGradient(
        _ objective: TowerObjective, _ examples: [TowerExample], of parameters: [TrainableParameter]
    ) throws {
        let totals = objective.totals(examples)
        _ = try objective.differentiate(examples, totals: totals, seed: 0)
        for parameter in parameters {
            let gradient = try #require(parameter.gradient, "\(parameter.name)")
            try checkDerivative(along: gradient, of: parameter) {
                objective.value(try objective.evaluate(examples), totals: totals)
            }
        }
    }

    @Test func speechTowerLearnsFromRowsAndSequences() throws {
        let encoder = try checkpoint.speechNetworks.get().encoder, configuration = encoder.configuration
        var random = SplitMix64(seed: 1)
        let objective = TowerObjective(
            .speech(encoder),
            heads: [
                try LabelHead("phone", .rows, labels: 5, width: configuration.width, random: &random),
                try LabelHead("word", .sequence, labels: 7, width: configuration.width, random: &random),
            ], weights: ["word": 0.5])
        let examples = try (0..<2).map { index in
            TowerExample(
                input: .speech(try noise(configuration.mels, 2 * configuration.positions, seed: UInt64(index))),
                rowLabels: ["phone": [0, 4, 4, CrossEntropy.ignored, 2]],
                sequences: index == 0 ? ["word": [6, 6, 1]] : [:], origin: "item \(index)")
        }
        #expect(examples.map(objective.terms) == [[1, 1], [1, 0]])
        for example in examples { try objective.check(example) }
        try checkGradient(
            objective, examples,
            of: [
                objective.heads[1].weight, parameter(.speechTower, "conv1.weight"),
                parameter(.speechTower, "layers.0.self_attn.k_proj.weight"),
                parameter(.speechTower, "embed_positions.weight"),
            ])
    }

    @Test func visionTowerLearnsFromPatches() throws {
        let encoder = try checkpoint.visionNetworks.get().encoder
        var random = SplitMix64(seed: 2)
        let objective = TowerObjective(
            .vision(encoder),
            heads: [
                try LabelHead(
                    "colour", .rows, labels: 3, width: encoder.configuration.outputWidth, random: &random)
            ])
        let pixels = 3 * encoder.configuration.temporalPatch * encoder.configuration.patch * encoder.configuration.patch
        let example = TowerExample(
            input: .vision(PatchGrid(grid: (1, 4, 6), patches: try noise(24, pixels, seed: 3))),
            rowLabels: ["colour": [2, 1, 0, CrossEntropy.ignored, 1, 1]], sequences: [:], origin: "item")
        try objective.check(example)
        try checkGradient(
            objective, [example],
            of: [
                parameter(.visionTower, "patch_embed.proj.weight"), parameter(.visionTower, "blocks.0.attn.qkv.weight"),
                parameter(.visionTower, "merger.mlp.2.bias"),
            ])
    }

    /// Inputs that go through a tower together give the rows that each gives alone. The sums of a product come in
    /// another order for other numbers of rows; outputs are near 1.
    @Test func inputsOfAPassDoNotSeeEachOther() throws {
        let speech = try checkpoint.speechNetworks.get().encoder, configuration = speech.configuration
        let mels = try (0..<2).map { try noise(configuration.mels, 2 * configuration.positions, seed: UInt64($0)) }
        let together = try Recording.paused { try speech(mels: mels) }
        let alone = try Recording.paused { try Tensor.stacking(mels.map { try speech(mel: $0) }) }
        #expect(largestDifference(together, alone) < 1e-5)
        let vision = try checkpoint.visionNetworks.get().encoder
        let pixels = 3 * vision.configuration.temporalPatch * vision.configuration.patch * vision.configuration.patch
        let patches = try noise(48, pixels, seed: 4)
        let rows = try Recording.paused { try vision(allRowsOf: patches, grid: (2, 4, 6)) }
        let steps = try Recording.paused { try vision(patches: patches, grid: (2, 4, 6)) }
        #expect(largestDifference(rows, steps) < 1e-5)
    }

    private func largestDifference(_ a: Tensor, _ b: Tensor) -> Float {
        a.shape == b.shape ? zip(a.values, b.values).reduce(0) { max($0, abs($1.0 - $1.1)) } : .infinity
    }

    @Test func labelsThatDoNotFitAreRefused() throws {
        let encoder = try checkpoint.speechNetworks.get().encoder, configuration = encoder.configuration
        var random = SplitMix64(seed: 1)
        let objective = TowerObjective(
            .speech(encoder),
            heads: [
                try LabelHead("phone", .rows, labels: 5, width: configuration.width, random: &random),
                try LabelHead("word", .sequence, labels: 7, width: configuration.width, random: &random),
            ])
        let mel = try noise(configuration.mels, 2 * configuration.positions, seed: 1)
        func check(rows: [Int32], sequence: [Int32]) throws {
            try objective.check(
                TowerExample(
                    input: .speech(mel), rowLabels: ["phone": rows], sequences: ["word": sequence], origin: "item 3"))
        }
        let long = [Int32](repeating: 1, count: configuration.positions)
        try check(rows: long, sequence: [0])
        for (rows, sequence, message) in [
            ([5], [0], "item 3: label 5 of \"phone\" is not 0 to 4"),
            ([1], [7], "item 3: label 7 of \"word\" is not 0 to 6"),
            ([1], [CrossEntropy.ignored], "item 3: label -100 of \"word\" is not 0 to 6"),
            (long + [1], [0], "\"phone\" needs \(long.count + 1) rows, but the tower makes \(long.count)"),
            ([1], long, "\"word\" needs \(2 * long.count - 1) rows"),
        ] as [([Int32], [Int32], String)] {
            #expect {
                try check(rows: rows, sequence: sequence)
            } throws: {
                "\($0)".contains(message)
            }
        }
    }
}
