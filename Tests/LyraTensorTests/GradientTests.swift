import CKernels
import LyraBase
import Testing

@testable import LyraTensor

/// The gradient of every operation against central differences.
@Suite struct GradientTests {
    /// A computation of trainable parameters, and the operation whose gradient it checks.
    struct Case: Sendable, CustomTestStringConvertible {
        let kind: Operation.Kind
        let name: String
        let shapes: [[Int]]
        let body: @Sendable ([TrainableParameter]) throws -> Tensor

        init(
            _ kind: Operation.Kind, _ name: String, _ shapes: [Int]...,
            body: @escaping @Sendable ([TrainableParameter]) throws -> Tensor
        ) {
            (self.kind, self.name, self.shapes, self.body) = (kind, name, shapes, body)
        }

        var testDescription: String { "\(kind) \(name) \(shapes)" }
    }

    private static func angles(_ rows: Int, _ dim: Int) throws -> Rotation {
        try Rotation(angles: Tensor(rows: rows, columns: dim / 2) { Float($0) * 0.7 + Float($1) * 0.3 })
    }

    private static func attend(_ p: [TrainableParameter], heads: Int, _ lengths: [Int]) throws -> Tensor {
        try BatchContext(lengths: lengths).attention(
            p[0].tensor, appending: p[1].tensor, p[2].tensor, heads: heads, precision: .exact)
    }

    static let cases: [Case] = [
        Case(.view, "rows", [5, 3]) { $0[0].tensor.rows(1..<4) },
        Case(.view, "columns", [5, 7]) { $0[0].tensor.columns(2..<5) },
        Case(.view, "rows of a weight", [6, 4], [3, 4]) {
            try $0[0].weight.rows(2..<5).product($0[1].tensor)
        },
        Case(.view, "two that overlap", [5, 7]) {
            try $0[0].tensor.columns(0..<4).scaled(by: 2).adding($0[0].tensor.columns(3..<7))
        },
        Case(.reshape, "plain", [6, 2]) { try $0[0].tensor.reshaped([3, 4]) },
        Case(.reshape, "of a view", [6, 3]) { try $0[0].tensor.columns(1..<3).reshaped([3, 4]) },
        Case(.stacking, "plain", [2, 3], [1, 3]) { try Tensor.stacking([$0[1].tensor, $0[0].tensor, $0[1].tensor]) },
        Case(.replacing, "plain", [5, 3], [2, 3]) {
            var x = try $0[0].tensor.scaled(by: 1)
            try x.replace(rowsFrom: 1, with: $0[1].tensor)
            return x
        },
        Case(.keepingRows, "plain", [5, 3]) { try $0[0].tensor.keepingRows([4, 0, 4]) },
        Case(.repeatingRows, "plain", [3, 5]) { try $0[0].tensor.repeatingRows(3) },
        Case(.transposing, "plain", [3, 5]) { try $0[0].tensor.transposed() },
        Case(.adding, "plain", [4, 3], [2, 3]) { try $0[0].tensor.adding($0[1].tensor) },
        Case(.scaling, "plain", [4, 3]) { try $0[0].tensor.scaled(by: -1.5) },
        Case(.gathering, "plain", [7, 3]) { try $0[0].weight.gather([6, 0, 6, 2]) },
        Case(.products, "bias", [3, 5], [4, 5], [4]) {
            try $0[1].weight.product($0[0].tensor, bias: $0[2].tensor)
        },
        Case(.products, "residual", [40, 5], [4, 5], [4], [40, 4]) {
            try Projection($0[1].weight, bias: $0[2].tensor)($0[0].tensor, addedTo: $0[3].tensor)
        },
        Case(.products, "side by side, with an update", [3, 5], [4, 5], [2, 5], [2, 5], [4, 2]) {
            try [
                Projection($0[1].weight, update: LowRankUpdate(a: $0[3].weight, b: $0[4].weight, scale: 0.5)),
                Projection($0[2].weight),
            ].sideBySide($0[0].tensor)
        },
        Case(.products, "dropout in the update", [6, 5], [4, 5], [2, 5], [4, 2]) {
            try Projection(
                $0[1].weight,
                update: LowRankUpdate(
                    a: $0[2].weight, b: $0[3].weight, scale: 0.5, dropout: Dropout(share: 0.4, seed: 7)))(
                    $0[0].tensor)
        },
        Case(.rmsNorm, "plain", [5, 19], [19]) { try $0[0].tensor.rmsNormalized(weight: $0[1].tensor, epsilon: 1e-3) },
        Case(.rmsNorm, "one column", [3, 1], [1]) {
            try $0[0].tensor.rmsNormalized(weight: $0[1].tensor, epsilon: 0.5)
        },
        Case(.layerNorm, "plain", [5, 19], [19], [19]) {
            try $0[0].tensor.layerNormalized(weight: $0[1].tensor, bias: $0[2].tensor, epsilon: 1e-3)
        },
        Case(.unitRows, "plain", [4, 7]) { try $0[0].tensor.unitRows() },
        Case(.siluProduct, "plain", [3, 2 * 21]) {
            let both = try $0[0].tensor.split(columns: [21, 21])
            return try Tensor.siluProduct(gate: both[0], up: both[1])
        },
        Case(.activation, "gelu", [3, 5], [17, 5], [17]) {
            try $0[1].weight.product($0[0].tensor, bias: $0[2].tensor, activation: .gelu)
        },
        Case(.activation, "quick gelu", [3, 5], [17, 5]) {
            try $0[1].weight.product($0[0].tensor, activation: .quickGelu)
        },
        Case(.leakyRelu, "plain", [5, 6]) { try $0[0].tensor.leakyRelu(slope: 0.3) },
        Case(.tanh, "plain", [5, 6]) { try $0[0].tensor.tanh() },
        Case(.rotation, "plain", [3, 14]) { try $0[0].tensor.rotated(angles(3, 4), heads: 3) },
        Case(.attention, "causal, two samples, grouped heads", [7, 12], [7, 6], [7, 6]) {
            try attend($0, heads: 4, [3, 4])
        },
        Case(.attention, "causal, several tiles", [300, 4], [300, 4], [300, 4]) { try attend($0, heads: 1, [300]) },
        Case(.attention, "without a mask, more keys", [3, 6], [5, 6], [5, 6]) {
            try attention($0[0].tensor, keys: $0[1].tensor, values: $0[2].tensor, heads: 2)
        },
        Case(.attention, "views of one product", [6, 4], [12, 4]) {
            let qkv = try $0[1].weight.product($0[0].tensor).split(columns: [4, 4, 4])
            return try attention(qkv[0], keys: qkv[1], values: qkv[2], heads: 2)
        },
        Case(.unfoldingRows, "plain", [7, 3]) { try $0[0].tensor.unfoldedRows(kernel: 3, stride: 2) },
        Case(.unfoldingSquares, "plain", [2, 5, 6]) { try $0[0].tensor.unfoldedSquares(kernel: 3, stride: 2) },
        Case(.joiningColumns, "plain", [3, 5], [3, 2]) { try $0[0].tensor.after($0[1].tensor) },
        Case(.joiningColumns, "padding, and a copy of the last columns", [3, 5]) {
            try $0[0].tensor.padded(columns: 2).copy(columnsFrom: 3)
        },
        Case(.convolution, "dilation, residual, history", [3, 17], [5, 3, 4], [5], [5, 13], [5, 2]) {
            try Convolution1D($0[1].tensor, bias: $0[2].tensor, dilation: 2)(
                $0[0].tensor, addedTo: $0[3].tensor, after: $0[4].tensor)
        },
        Case(.convolution, "several tasks of columns", [2, 1100], [3, 2, 3], [3]) {
            try Convolution1D($0[1].tensor, bias: $0[2].tensor, dilation: 3)($0[0].tensor)
        },
        Case(.convolution, "one tap", [2, 5], [3, 2, 1], [3]) {
            try Convolution1D($0[1].tensor, bias: $0[2].tensor)($0[0].tensor)
        },
        Case(.transposedConvolution, "kernel not a multiple of the rate", [3, 6], [3, 2, 5], [2]) {
            try TransposedConvolution1D($0[1].tensor, bias: $0[2].tensor, rate: 2, precision: .exact)($0[0].tensor)
        },
        Case(.transposedConvolution, "kernel like the rate", [2, 7], [2, 3, 3], [3]) {
            try TransposedConvolution1D($0[1].tensor, bias: $0[2].tensor, rate: 3, precision: .exact)($0[0].tensor)
        },
        Case(.weightNorm, "plain", [4, 2, 3], [4, 1, 1]) {
            try $0[0].tensor.foldingWeightNorm(gains: $0[1].tensor, name: "w")
        },
        Case(.recomputing, "plain", [3, 5], [4, 5], [5]) { p in
            try recomputing([p[0].tensor]) {
                try p[1].weight.product($0[0].rmsNormalized(weight: p[2].tensor, epsilon: 1e-3), activation: .gelu)
            }
        },
    ]

    @Test func everyOperationHasACase() {
        #expect(Set(Operation.Kind.allCases) == Set(Self.cases.map(\.kind)))
    }

    /// The derivative of Σ y · g in random directions, by central differences of F32 arithmetic: 1e-3 of the largest
    /// element is a few times its rounding.
    @Test(arguments: GradientTests.cases) func gradientsMatchCentralDifferences(_ each: Case) throws {
        var numbers = Sequence(each.shapes.count + 1)
        let parameters = try each.shapes.enumerated().map { index, shape in
            try TrainableParameter("p\(index)", Tensor(shape, numbers.floats(shape.reduce(1, *))))
        }
        let y = try each.body(parameters)
        #expect(kinds(of: y).contains(each.kind), "the operation was recorded")
        let g = try Tensor(y.shape, numbers.floats(y.count))
        try backpropagate([(y, g)])

        func loss() throws -> Double {
            try Recording.paused {
                zip(try each.body(parameters).values, g.values).reduce(0) { $0 + Double($1.0) * Double($1.1) }
            }
        }
        for parameter in parameters {
            let gradient = try #require(parameter.gradient).values
            let largest = gradient.reduce(0) { max($0, abs($1)) }
            // Every element of a small parameter, some of a large one.
            for index in stride(from: 0, to: parameter.count, by: max(1, parameter.count / 60)) {
                let step: Float = 1 / 64
                // No derivative at the kink of a ReLU.
                if each.kind == .leakyRelu, abs(parameter.tensor[index]) <= step { continue }
                func moved(by change: Float) throws -> Double {
                    parameter.withValues { $0[index] += change }
                    defer { parameter.withValues { $0[index] -= change } }
                    return try loss()
                }
                let difference = try (moved(by: step) - moved(by: -step)) / Double(2 * step)
                #expect(
                    abs(difference - Double(gradient[index])) < 2e-3 * Double(max(largest, 1)),
                    "\(parameter.name)[\(index)]: \(gradient[index]), by differences \(difference)")
            }
        }
    }

    private func kinds(of tensor: Tensor) -> Set<Operation.Kind> {
        var found: Set<Operation.Kind> = [], stack = [tensor.node].compactMap(\.self)
        while let node = stack.popLast() {
            guard case .made(let operation) = node.origin else { continue }
            found.insert(operation.kind)
            stack += operation.operands
        }
        return found
    }

    /// Frozen matrices of every stored type pass a gradient to their input and keep none. Packed ones round both factors
    /// to BF16 where the processor multiplies that faster: 5 products of factors up to 1, each off by 2⁻⁸ at most.
    @Test(arguments: [ElementType.float32, .float16, .bfloat16, .q8_0, .q4_0, .q4_k, .q6_k])
    func frozenMatricesPassTheGradientOn(_ type: ElementType) throws {
        var numbers = Sequence(3)
        let weight = try storedWeight(5, 256, as: type, numbers.floats(5 * 256))
        let x = try TrainableParameter("x", Tensor([3, 256], numbers.floats(3 * 256)))
        let g = try Tensor([3, 5], numbers.floats(15))
        try backpropagate([(weight.product(x.tensor), g)])
        let wanted = try weight.transposedProduct(g).values
        #expect(try #require(x.gradient).values == wanted)
        let floats = try weight.dequantized(rows: 0..<5).values
        let tolerance = weight.precision == .fast && lk_bf16_is_fast() != 0 ? 0.02 : 1e-5
        for (index, value) in wanted.enumerated() {
            let (row, column) = index.quotientAndRemainder(dividingBy: 256)
            let sum = (0..<5).reduce(0.0) { $0 + Double(g[row * 5 + $1]) * Double(floats[$1 * 256 + column]) }
            #expect(abs(Double(value) - sum) < tolerance)
        }
    }

    /// A frozen convolution passes the gradient on, of the weights as it packed them.
    @Test(arguments: [Precision.exact, .fast]) func frozenConvolutionsPassTheGradientOn(_ precision: Precision) throws {
        var numbers = Sequence(5)
        // Numbers that BF16 holds exactly.
        let weights = numbers.floats(4 * 3 * 5).map { Float(bitPattern: $0.bitPattern & 0xffff_0000) }
        let x = try TrainableParameter("x", Tensor([3, 20], numbers.floats(60)))
        let convolution = try Convolution1D(
            Tensor([4, 3, 5], weights), bias: Tensor(zeros: [4]), dilation: 2, precision: precision)
        let g = numbers.floats(4 * 12)
        try backpropagate([(convolution(x.tensor), Tensor([4, 12], g))])
        let got = try #require(x.gradient).values
        for (index, value) in got.enumerated() {
            let (input, column) = index.quotientAndRemainder(dividingBy: 20)
            var sum = 0.0
            for output in 0..<4 {
                for tap in 0..<5 where (0..<12).contains(column - 2 * tap) {
                    sum += Double(weights[(output * 3 + input) * 5 + tap]) * Double(g[output * 12 + column - 2 * tap])
                }
            }
            #expect(abs(Double(value) - sum) < 1e-5)
        }
    }

    @Test func nothingIsRecordedWithoutParametersOrWhilePaused() throws {
        let x = try Tensor([2, 2], [1, 2, 3, 4]), p = try TrainableParameter("p", x)
        #expect(try !x.scaled(by: 2).isTracked)
        #expect(try p.tensor.scaled(by: 2).isTracked)
        #expect(try Recording.paused { try !p.tensor.scaled(by: 2).isTracked })
        #expect(!p.tensor.detached.isTracked)
    }

    @Test func gradientsOfSeveralUsesAddUp() throws {
        let p = try TrainableParameter("p", Tensor([1, 2], [1, 2]))
        let y = try p.tensor.scaled(by: 2), z = try p.tensor.scaled(by: 3)
        let ones = try Tensor([1, 2], [1, 1])
        try backpropagate([(y, ones), (z, ones)])
        #expect(p.gradient?.values == [5, 5])
        try backpropagate([(p.tensor.scaled(by: 1), ones)])
        #expect(p.gradient?.values == [6, 6], "gradients add up over calls")
        p.node.clearGradient()
        #expect(p.gradient == nil)
        #expect(throws: LyraError.self, "spent") { try backpropagate([(y, ones)]) }
        #expect(throws: LyraError.self, "a gradient of another shape") {
            try backpropagate([(p.tensor.scaled(by: 1), Tensor([1, 3], [1, 1, 1]))])
        }
    }

    /// An update of a parameter shows in weights and tensors that it gave out before.
    @Test func updatesShowInEveryCopy() throws {
        let p = try TrainableParameter("p", Tensor([2, 1], [1, 2])), weight = p.weight, tensor = p.tensor
        p.withValues { $0[1] = 7 }
        #expect(tensor.values == [1, 7])
        #expect(try weight.product(Tensor([1, 1], [2])).values == [2, 14])
    }
}
