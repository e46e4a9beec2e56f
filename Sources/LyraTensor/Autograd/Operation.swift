/// An operation that has a gradient, with what its gradient needs of the operands and the result. Results are kept
/// without their own node, so no cycle keeps them alive.
enum Operation {
    case view(of: GradientNode, rows: Range<Int>, columns: Range<Int>)
    case reshape(of: GradientNode)
    case stacking([Tensor.Operand])
    case replacing(Tensor.Operand, rows: Range<Int>, with: Tensor.Operand)
    case keepingRows(of: GradientNode, [Int32])
    case repeatingRows(of: GradientNode, Int)
    case transposing(GradientNode)
    case adding(Tensor.Operand, Tensor.Operand)
    case scaling(GradientNode, Float)
    case gathering(GradientNode, [Int32])
    /// `lows`: of each projection's update, scale · dropped(x) · aᵀ.
    case products([Projection], x: Tensor, residual: GradientNode?, lows: [Tensor?])
    case rmsNorm(Tensor, weight: Tensor, epsilon: Float)
    case layerNorm(Tensor, weight: Tensor, bias: Tensor, epsilon: Float)
    case unitRows(of: GradientNode, result: Tensor, lengths: [Float])
    case siluProduct(gate: Tensor, up: Tensor)
    case activation(Activation, of: Tensor)
    case leakyRelu(of: GradientNode, slope: Float, result: Tensor)
    case tanh(of: GradientNode, result: Tensor)
    case rotation(of: GradientNode, Rotation, heads: Int)
    case attention(AttentionRecord)
    case unfoldingRows(of: GradientNode, kernel: Int, stride: Int)
    case unfoldingSquares(of: GradientNode, kernel: Int, stride: Int)
    case joiningColumns([Tensor.Operand])
    case convolution(ConvolutionRecord)
    case transposedConvolution(TransposedConvolutionRecord)
    case weightNorm(Tensor, gains: Tensor)
    case recomputing(Recomputation)
}

extension Operation {
    /// The operations without their operands, so that a test can list them.
    enum Kind: CaseIterable {
        case view, reshape, stacking, replacing, keepingRows, repeatingRows, transposing, adding, scaling, gathering
        case products, rmsNorm, layerNorm, unitRows, siluProduct, activation, leakyRelu, tanh, rotation, attention
        case unfoldingRows, unfoldingSquares, joiningColumns, convolution, transposedConvolution, weightNorm
        case recomputing
    }

    var kind: Kind {
        switch self {
        case .view: .view
        case .reshape: .reshape
        case .stacking: .stacking
        case .replacing: .replacing
        case .keepingRows: .keepingRows
        case .repeatingRows: .repeatingRows
        case .transposing: .transposing
        case .adding: .adding
        case .scaling: .scaling
        case .gathering: .gathering
        case .products: .products
        case .rmsNorm: .rmsNorm
        case .layerNorm: .layerNorm
        case .unitRows: .unitRows
        case .siluProduct: .siluProduct
        case .activation: .activation
        case .leakyRelu: .leakyRelu
        case .tanh: .tanh
        case .rotation: .rotation
        case .attention: .attention
        case .unfoldingRows: .unfoldingRows
        case .unfoldingSquares: .unfoldingSquares
        case .joiningColumns: .joiningColumns
        case .convolution: .convolution
        case .transposedConvolution: .transposedConvolution
        case .weightNorm: .weightNorm
        case .recomputing: .recomputing
        }
    }
}

extension Tensor {
    /// An operand of which the gradient needs the shape only.
    struct Operand {
        let node: GradientNode?
        let shape: [Int]

        init(_ tensor: Tensor) { (node, shape) = (tensor.node, tensor.shape) }

        var rows: Int { shape.first ?? 1 }
        var columns: Int { shape.dropFirst().reduce(1, *) }
    }
}

extension Operation {
    /// The nodes that the gradient goes on to.
    var operands: [GradientNode] {
        switch self {
        case .view(let x, _, _), .reshape(let x), .keepingRows(let x, _), .repeatingRows(let x, _), .transposing(let x),
            .scaling(let x, _), .gathering(let x, _), .unitRows(let x, _, _), .leakyRelu(let x, _, _), .tanh(let x, _),
            .rotation(let x, _, _), .unfoldingRows(let x, _, _), .unfoldingSquares(let x, _, _):
            [x]
        case .stacking(let operands), .joiningColumns(let operands): operands.compactMap(\.node)
        case .replacing(let old, _, let new): [old, new].compactMap(\.node)
        case .adding(let a, let b): [a, b].compactMap(\.node)
        case .products(let projections, let x, let residual, _):
            [x.node, residual].compactMap(\.self) + projections.flatMap(\.nodes)
        case .rmsNorm(let x, let weight, _): [x, weight].compactMap(\.node)
        case .layerNorm(let x, let weight, let bias, _): [x, weight, bias].compactMap(\.node)
        case .siluProduct(let gate, let up): [gate, up].compactMap(\.node)
        case .activation(_, let x): [x].compactMap(\.node)
        case .convolution(let record): record.operands
        case .transposedConvolution(let record): record.operands
        case .weightNorm(let vectors, let gains): [vectors, gains].compactMap(\.node)
        case .attention(let record): [record.queries, record.keys, record.values].compactMap(\.node)
        case .recomputing(let part): part.inputs.compactMap(\.node) + part.leaves
        }
    }
}
