import CKernels
import LyraBase

/// An activation function, applied to every element while the product is written.
public enum Activation: Sendable {
    case identity
    /// v · ½(1 + erf(v / √2))
    case gelu
    /// v · σ(1.702 v)
    case quickGelu

    var epilogue: lk_epilogue {
        switch self {
        case .identity: LK_STORE
        case .gelu: LK_GELU
        case .quickGelu: LK_QUICK_GELU
        }
    }
}

/// Whether the rows of a matrix belong together.
public enum RowKind: Sendable {
    /// They are one sequence: with packed weights, many rows may be rounded to BF16.
    case together
    /// They are of different conversations: each is rounded as if it were alone, however many there are.
    case apart
}

// MARK: - One weight

extension Weight {
    /// activation(x · selfᵀ + bias). [rows, inputs] → [rows, outputs]
    ///
    /// - Parameters:
    ///   - bias: [outputs]
    ///   - rows: whether the rows of x belong together
    /// - Throws: `LyraError.argument` if x or the bias does not fit, `.memory` if there is no room, `.io` if the
    ///   system refuses to open OpenBLAS, `.state` if interrupted. All products throw these.
    public func product(
        _ x: Tensor, bias: Tensor? = nil, activation: Activation = .identity, rows: RowKind = .together
    ) throws -> Tensor {
        if x.isTracked || isTracked || bias?.isTracked ?? false {
            // The gradient needs what the activation takes.
            if Recording.isOn { return try Projection(self, bias: bias)(x).activated(activation) }
            Recording.list([x.node, node, bias?.node].compactMap(\.self))
        }
        return try Tensor([x.rows, outputs]) { y in
            try runProducts(x, [PlacedProduct(self, bias, y, rowStride: outputs, activation.epilogue)], rows)
        }
    }

    /// residual + x · selfᵀ + bias, in the residual's memory if no other tensor shares it.
    ///
    /// - Parameter residual: [rows, outputs]
    public func product(_ x: Tensor, bias: Tensor? = nil, addedTo residual: consuming Tensor) throws -> Tensor {
        try Projection(self, bias: bias)(x, addedTo: residual)
    }

    /// x · self: propagates a gradient from outputs back to inputs. [rows, outputs] → [rows, inputs]
    ///
    /// Dequantizes a few rows of weights at a time to F32; sums are F32.
    ///
    /// - Parameter precision: `fast` may round both factors to BF16; nil for the matrix's own
    public func transposedProduct(_ x: Tensor, precision: Precision? = nil) throws -> Tensor {
        try Tensor([x.rows, inputs]) {
            try transposedProduct(x, into: $0, isFilled: false, precision: precision ?? self.precision)
        }
    }

    /// The same, written to `sum`, or added to it if it `isFilled`.
    func transposedProduct(
        _ x: Tensor, into sum: UnsafeMutablePointer<Float>, isFilled: Bool, precision: Precision
    ) throws {
        guard x.columns == outputs else {
            throw LyraError(
                .argument, "the transpose of a matrix [\(outputs), \(inputs)] does not take rows of \(x.columns)")
        }
        // The weights of one pass take at most 8 MiB as floats.
        let rowsPerPass = isFloats ? outputs : max(1, min(outputs, (2 << 20) / max(inputs, 1)))
        for first in stride(from: 0, to: outputs, by: rowsPerPass) {
            let range = first..<min(first + rowsPerPass, outputs)
            try withFloats(rows: range) { floats in
                try x.withMatrix { values, stride in
                    try addMatrixProduct(
                        lk_factor(data: values + first, ld: stride, transposed: 0),
                        lk_factor(data: floats, ld: inputs, transposed: 0), to: sum, addingTo: isFilled || first > 0,
                        rows: x.rows, columns: inputs, depth: range.count, precision: precision)
                }
            }
        }
    }

    /// Adds the gradient of a product of this matrix, dyᵀ · x, if the matrix is trained.
    ///
    /// - Parameters:
    ///   - dy: [rows, outputs]
    ///   - x: [rows, inputs]
    public func addGradient(_ dy: Tensor, x: Tensor) throws { try node?.addProduct(dy, x, precision: precision) }

    /// Rows `range` as floats. → [range.count, inputs]
    public func dequantized(rows range: Range<Int>) throws -> Tensor {
        try gather(range.map { Int32(clamping: $0) })
    }

    /// The rows at `indices` as floats: token embeddings. → [indices.count, inputs]
    ///
    /// - Throws: `LyraError.argument` for an index that is not a row.
    public func gather(_ indices: some Collection<Int32>) throws -> Tensor {
        if let wrong = indices.first(where: { $0 < 0 || Int($0) >= outputs }) {
            throw LyraError(.argument, "row \(wrong) is outside a matrix of \(outputs) rows")
        }
        let indices = Array(indices)
        let rows = try Tensor([indices.count, inputs]) { copyRows(indices, to: $0) }
        guard let node else { return rows }
        return rows.recorded(.gathering(node, indices))
    }
}

// MARK: - Several weights, and low-rank updates

/// A low-rank update of a matrix (LoRA, arXiv 2106.09685): scale · b · a. The update is kept beside the matrix, so that
/// enabling or disabling it costs nothing.
public struct LowRankUpdate: Sendable {
    /// [rank, inputs]
    public let a: Weight
    /// [outputs, rank]
    public let b: Weight
    public let scale: Float
    /// Drops elements of x, in training.
    public let dropout: Dropout?

    public init(a: Weight, b: Weight, scale: Float, dropout: Dropout? = nil) {
        (self.a, self.b, self.scale, self.dropout) = (a, b, scale, dropout)
    }
}

/// x · weightᵀ + bias, plus scale · x · aᵀ · bᵀ if there is an update.
public struct Projection: Sendable {
    public let weight: Weight
    /// [outputs]
    public let bias: Tensor?
    public let update: LowRankUpdate?

    public init(_ weight: Weight, bias: Tensor? = nil, update: LowRankUpdate? = nil) {
        (self.weight, self.bias, self.update) = (weight, bias, update)
    }

    /// [rows, inputs] → [rows, outputs]
    public func callAsFunction(_ x: Tensor, rows: RowKind = .together) throws -> Tensor {
        try [self].sideBySide(x, rows: rows)
    }

    /// residual + the product, in the residual's memory if no other tensor shares it. [rows, inputs] → [rows, outputs]
    ///
    /// - Parameter residual: [rows, outputs]
    public func callAsFunction(
        _ x: Tensor, addedTo residual: consuming Tensor, rows: RowKind = .together
    ) throws -> Tensor {
        var sum = residual
        let node = sum.node
        guard sum.shape == [x.rows, weight.outputs] else {
            throw LyraError(
                .argument, "a product [\(x.rows), \(weight.outputs)] cannot be added to a tensor \(sum.shape)")
        }
        let outputs = weight.outputs
        let low = try sum.withMutableValues { y in
            try runProducts(x, [PlacedProduct(weight, bias, y, rowStride: outputs, LK_ACCUMULATE)], rows)
            return try update?.add(x, to: y, rowStride: outputs, rows)
        }
        guard node != nil || x.isTracked || !nodes.isEmpty else { return sum }
        return sum.recorded(.products([self], x: x, residual: node, lows: [update?.b.isTracked ?? false ? low : nil]))
    }

    /// The nodes of the trainable factors.
    var nodes: [GradientNode] {
        [weight.node, bias?.node, update?.a.node, update?.b.node].compactMap(\.self)
    }
}

extension [Projection] {
    /// Several products of the same x, side by side: [rows, inputs] → [rows, sum of outputs]. Rounds x only once for
    /// packed weights; threads move from one matrix to the next without waiting.
    public func sideBySide(_ x: Tensor, rows: RowKind = .together) throws -> Tensor {
        let columns = reduce(0) { $0 + $1.weight.outputs }
        var lows: [Tensor?] = []
        let y = try Tensor([x.rows, columns]) { y in
            let starts = reduce(into: [0]) { $0.append(($0.last ?? 0) + $1.weight.outputs) }
            try runProducts(
                x, zip(self, starts).map { PlacedProduct($0.weight, $0.bias, y + $1, rowStride: columns, LK_STORE) },
                rows)
            for (projection, start) in zip(self, starts) {
                let low = try projection.update?.add(x, to: y + start, rowStride: columns, rows)
                lows.append(projection.update?.b.isTracked ?? false ? low : nil)
            }
        }
        guard x.isTracked || contains(where: { !$0.nodes.isEmpty }) else { return y }
        return y.recorded(.products(self, x: x, residual: nil, lows: lows))
    }

    /// y = x · Wᵀ + bias + scale · dropped(x) · Aᵀ · Bᵀ, for each projection in its own columns of dy:
    ///
    ///     dx += dy · W,  dW += dyᵀ · x,  dbias += Σ dy
    ///     dB += scale · dyᵀ · l with l = dropped(x) · Aᵀ
    ///     dA += dlᵀ · dropped(x) and dx += dropped(dl · A) with dl = scale · dy · B
    ///
    /// - Parameter lows: scale · l of each update, from the forward pass; nil where B is frozen
    func propagate(_ dy: Tensor, x: Tensor, lows: [Tensor?]) throws {
        var start = 0
        for (projection, low) in zip(self, lows) {
            let part = dy.columns(start..<start + projection.weight.outputs)
            start += projection.weight.outputs
            let weight = projection.weight
            try x.node?.accumulateProduct {
                try weight.transposedProduct(part, into: $0, isFilled: $1, precision: weight.precision)
            }
            try weight.addGradient(part, x: x)
            if let bias = projection.bias?.node { try bias.addColumnSums(of: part) }
            try projection.update?.propagate(part, x: x, low: low, precision: weight.precision)
        }
    }
}

extension GradientNode {
    /// Adds dyᵀ · x: the gradient of a matrix. [rows, outputs], [rows, inputs] → [outputs, inputs]
    fileprivate func addProduct(_ dy: Tensor, _ x: Tensor, precision: Precision) throws {
        try accumulateProduct { sum, isFilled in
            try dy.withMatrix { values, dyStride in
                try x.withMatrix { x, stride in
                    try addMatrixProduct(
                        lk_factor(data: values, ld: dyStride, transposed: 1),
                        lk_factor(data: x, ld: stride, transposed: 0), to: sum, addingTo: isFilled, rows: dy.columns,
                        columns: columns, depth: dy.rows, precision: precision)
                }
            }
        }
    }

    fileprivate func addColumnSums(of dy: Tensor) throws {
        try accumulate { sum in
            dy.withMatrix { lk_add_column_sums(sum, $0, $1, dy.rows, dy.columns) }
        }
    }
}

extension LowRankUpdate {
    /// Adds scale · x · aᵀ · bᵀ to `rows` of y, which are of different conversations, from column `column` on, without
    /// a record for gradients.
    ///
    /// - Parameter x: those rows of what y is a product of
    public func add(_ x: Tensor, to y: inout Tensor, rows: Range<Int>, column: Int = 0) throws {
        let (count, columns) = (y.rows, y.columns)
        guard rows.count == x.rows, rows.lowerBound >= 0, rows.upperBound <= count, column >= 0,
            column <= columns - b.outputs
        else {
            throw LyraError(.argument, "an update of rows \(rows) from column \(column) is outside \(y.shape)")
        }
        _ = try y.withMutableValues {
            try add(x, to: $0 + rows.lowerBound * columns + column, rowStride: columns, .apart)
        }
    }

    /// - Returns: scale · dropped(x) · aᵀ, [rows, rank]
    fileprivate func add(
        _ x: Tensor, to y: UnsafeMutablePointer<Float>, rowStride: Int, _ kind: RowKind
    ) throws -> Tensor {
        let x = x.detached
        let low = try Recording.paused { try a.product(dropout?(x) ?? x, rows: kind) }.scaled(by: scale)
        try runProducts(low, [PlacedProduct(b, nil, y, rowStride: rowStride, LK_ACCUMULATE)], kind)
        return low
    }

    /// Adds the gradients of a, b and x.
    fileprivate func propagate(_ dy: Tensor, x: Tensor, low: Tensor?, precision: Precision) throws {
        if let node = b.node, let low { try node.addProduct(dy, low, precision: precision) }
        guard a.isTracked || x.isTracked else { return }
        let dlow = try b.transposedProduct(dy, precision: precision).scaled(by: scale)  // [rows, rank]
        try a.node?.addProduct(dlow, dropout?(x.detached) ?? x, precision: precision)
        guard let node = x.node else { return }
        if let dropout {
            try node.add(dropout(a.transposedProduct(dlow, precision: precision)))
        } else {
            try node.accumulateProduct {
                try a.transposedProduct(dlow, into: $0, isFilled: $1, precision: precision)
            }
        }
    }
}

// MARK: - Kernels

/// A product and the memory for its result.
private struct PlacedProduct {
    let weight: Weight
    let bias: Tensor?
    let y: UnsafeMutablePointer<Float>
    let rowStride: Int
    let epilogue: lk_epilogue

    init(_ weight: Weight, _ bias: Tensor?, _ y: UnsafeMutablePointer<Float>, rowStride: Int, _ epilogue: lk_epilogue) {
        (self.weight, self.bias, self.y, self.rowStride, self.epilogue) = (weight, bias, y, rowStride, epilogue)
    }
}

/// a · b, written to `c` or added to it. `fast` rounds both factors to BF16 if the processor multiplies that faster.
///
/// - Parameters:
///   - a: [rows, depth], or its transpose
///   - b: [depth, columns], or its transpose
///   - c: [rows, columns]
private func addMatrixProduct(
    _ a: lk_factor, _ b: lk_factor, to c: UnsafeMutablePointer<Float>, addingTo isFilled: Bool, rows: Int,
    columns: Int, depth: Int, precision: Precision
) throws {
    let status: Int32
    if precision == .fast, lk_bf16_is_fast() != 0 {
        let memory = try FloatStorage(count: lk_bf16_product_floats(a, rows, columns, depth))
        status = lk_bf16_matrix_product(c, columns, a, b, rows, columns, depth, isFilled ? 1 : 0, memory.base)
        withExtendedLifetime(memory) {}
    } else {
        status = lk_matrix_product(c, columns, a, b, rows, columns, depth, isFilled ? 1 : 0)
    }
    try checkKernel(status, "a product of matrices")
}

/// Runs several products of the same x, in one kernel call if all weights are packed.
private func runProducts(_ x: Tensor, _ products: [PlacedProduct], _ kind: RowKind = .together) throws {
    for product in products {
        let weight = product.weight
        guard x.columns == weight.inputs else {
            throw LyraError(
                .argument, "a matrix [\(weight.outputs), \(weight.inputs)] does not take rows of \(x.columns)")
        }
        if let bias = product.bias, bias.count != weight.outputs || !bias.isContiguous {
            throw LyraError(
                .argument,
                "a matrix [\(weight.outputs), \(weight.inputs)] does not take a bias \(bias.shape); it needs "
                    + "\(weight.outputs) contiguous values")
        }
    }
    let (rows, columns) = (x.rows, x.columns)
    let status = x.withMatrix { x, stride in
        withBiases(products) { biases in
            if products.allSatisfy(\.weight.isPacked) {
                let packed = zip(products, biases).map { product, bias in
                    product.weight.packedProduct(product.y, product.rowStride, bias, product.epilogue)
                }
                let run = kind == .apart ? lk_packed_linear_apart : lk_packed_linear
                return run(packed, packed.count, x, stride, rows, columns)
            }
            for (product, bias) in zip(products, biases) {
                let status = product.weight.multiply(
                    x, stride, rows: rows, kind, into: product.y, product.rowStride, bias, product.epilogue)
                guard status == LK_OK else { return status }
            }
            return Int32(LK_OK)
        }
    }
    withExtendedLifetime(products) {}
    try checkKernel(status, "a matrix product")
}

/// Reads the biases of all products; nil where a product has no bias.
private func withBiases<R>(
    _ products: [PlacedProduct], _ found: [UnsafePointer<Float>?] = [], _ body: ([UnsafePointer<Float>?]) -> R
) -> R {
    guard found.count < products.count else { return body(found) }
    guard let bias = products[found.count].bias else { return withBiases(products, found + [nil], body) }
    return bias.withMatrix { base, _ in withBiases(products, found + [base], body) }
}
