import Foundation
import LyraBase
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

/// Muon against its definition in double precision.
@Suite(.serialized) struct MuonTests {
    /// A matrix in double precision, row by row.
    private struct Matrix {
        var rows, columns: Int
        var values: [Double]

        init(_ tensor: Tensor) {
            (rows, columns) = (tensor.shape[0], tensor.shape[1])
            values = tensor.values.map { Double($0) }
        }

        init(_ rows: Int, _ columns: Int, _ values: [Double]) {
            (self.rows, self.columns, self.values) = (rows, columns, values)
        }

        var transposed: Matrix {
            Matrix(columns, rows, (0..<columns * rows).map { values[$0 % rows * columns + $0 / rows] })
        }

        func times(_ other: Matrix) -> Matrix {
            var product = [Double](repeating: 0, count: rows * other.columns)
            for row in 0..<rows {
                for inner in 0..<columns {
                    let factor = values[row * columns + inner]
                    for column in 0..<other.columns {
                        product[row * other.columns + column] += factor * other.values[inner * other.columns + column]
                    }
                }
            }
            return Matrix(rows, other.columns, product)
        }

        func combined(_ own: Double, _ other: Matrix, _ others: Double) -> Matrix {
            Matrix(rows, columns, zip(values, other.values).map { own * $0 + others * $1 })
        }

        /// The iteration as published, always with X · Xᵀ.
        var orthogonalized: Matrix {
            let norm = values.reduce(0) { $0 + $1 * $1 }.squareRoot()
            var x = combined(1 / norm, self, 0)
            for _ in 0..<5 {
                let gram = x.times(x.transposed)
                let polynomial = gram.combined(-4.7750, gram.times(gram), 2.0315)
                x = x.combined(3.4445, polynomial.times(x), 1)
            }
            return x
        }
    }

    private static let settings = Optimizer.Group(.muon, learningRate: 0.02, weightDecay: 0.3, beta1: 0.9)

    /// Wide, tall, square, a row, a column, and more than a task of the threads' pool.
    @Test(arguments: [[5, 17], [17, 5], [12, 12], [1, 9], [9, 1], [96, 200]]) func updateEqualsItsDefinition(
        _ shape: [Int]
    ) throws {
        try onEachISA { isa in
            var optimizer = try Optimizer(groups: [Self.settings])
            try optimizer.add("w", shape: shape)
            var parameter = try normal(shape, seed: 1)
            var want = Matrix(parameter), momentum = want.combined(0, want, 0)
            let size = 0.02 * 0.5 * 0.2 * Double(shape.max() ?? 0).squareRoot()
            for step in 1...3 {
                let gradient = try normal(shape, seed: 10 + step)
                let scaled = Matrix(gradient).combined(0.25, want, 0)
                momentum = momentum.combined(0.9, scaled, 1)
                let direction = scaled.combined(1, momentum, 0.9).orthogonalized
                want = want.combined(1 - 0.02 * 0.5 * 0.3, direction, -size)
                try optimizer.update("w", &parameter, gradient: gradient, rateFactor: 0.5, gradientScale: 0.25)
                #expect(difference(parameter.values, want.values) < 1e-5, "\(isa), step \(step)")
                let saved = try #require(optimizer.moments(of: "w"))
                #expect(saved.steps == step && saved.second.values.allSatisfy { $0 == 0 })
                #expect(difference(saved.first.values, momentum.values) < 1e-6)
            }
        }
    }

    /// Singular values of very different size come near 1: Xᵀ X is then near the identity.
    @Test func directionsCountAlike() throws {
        var matrix = try Tensor(zeros: [3, 4])
        try matrix.withMutableValues {
            ($0[0], $0[5], $0[10]) = (10, 3, 0.5)
            try Orthogonalization(rows: 3, columns: 4).apply(to: $0)
        }
        let found = matrix.values
        for place in [0, 5, 10] { #expect((0.65...1.25).contains(found[place]), "\(found[place])") }
        for place in [1, 2, 3, 4, 6, 7, 8, 9, 11] { #expect(abs(found[place]) < 1e-6) }
    }

    @Test func aGradientOfZeroOnlyDecays() throws {
        var optimizer = try Optimizer(groups: [Self.settings])
        try optimizer.add("w", shape: [4, 6])
        var parameter = try normal([4, 6], seed: 1)
        let before = parameter.values
        try optimizer.update("w", &parameter, gradient: Tensor(zeros: [4, 6]))
        #expect(zip(parameter.values, before).allSatisfy { abs($0 - 0.994 * $1) < 1e-6 })
    }

    /// After many updates without a gradient, with zeros where nothing ever came.
    @Test func aMomentumThatHasFadedMovesNothing() throws {
        var matrix = try Tensor(zeros: [3, 4])
        try matrix.withMutableValues {
            $0[0] = 1e-40
            try Orthogonalization(rows: 3, columns: 4).apply(to: $0)
        }
        #expect(matrix.values.allSatisfy { abs($0) < 1e-6 })
    }

    @Test(arguments: [
        ("model.layers.0.mlp.up_proj.weight", [8, 4], RunParameters.Kind.matrix),
        ("model.layers.0.self_attn.q_proj.lora_A.weight", [2, 4], .matrix),
        ("model.embed_tokens.weight", [8, 4], .table), ("lm_head.weight", [8, 4], .table),
        ("speech_generator.output_proj.weight", [8, 4], .table), ("dict.weight", [8, 4], .table),
        ("encoder.embed_positions.weight", [8, 4], .table), ("patch_embed.proj.weight", [4, 3, 2, 7, 7], .table),
        ("model.norm.weight", [4], .vector), ("model.layers.0.self_attn.q_proj.bias", [4], .vector),
    ]) func layersMatricesAreToldFromTables(_ name: String, _ shape: [Int], _ kind: RunParameters.Kind) {
        #expect(RunParameters.Kind(name, shape) == kind)
    }

    @Test func onlyMatricesAreTaken() throws {
        var optimizer = try Optimizer(groups: [Self.settings, Optimizer.Group(learningRate: 1)])
        #expect(throws: LyraError.self) { try optimizer.add("bias", shape: [5]) }
        #expect(throws: LyraError.self) { try optimizer.add("kernel", shape: [5, 4, 3]) }
        try optimizer.add("bias", shape: [5], group: 1)
        #expect(throws: LyraError.self) { try optimizer.set(Self.settings, at: 1) }
    }
}
