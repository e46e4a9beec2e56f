import CKernels
import LyraBase

extension Tensor {
    /// self / rms(self) · weight over the last axis. [rows, columns]
    ///
    /// - Parameter weight: [columns]
    public func rmsNormalized(weight: Tensor, epsilon: Float) throws -> Tensor {
        try checkColumns(weight.count, "an RMS norm")
        return try Tensor(shape) { y in
            withValues { x in weight.withValues { lk_rms_norm(y, x, $0, rows, columns, epsilon) } }
        }
    }

    /// (self − mean) / √(variance + ε) · weight + bias over the last axis. [rows, columns]
    ///
    /// - Parameters:
    ///   - weight, bias: [columns]
    public func layerNormalized(weight: Tensor, bias: Tensor, epsilon: Float) throws -> Tensor {
        try checkColumns(weight.count, "a layer norm")
        try checkColumns(bias.count, "a layer norm's bias")
        return try Tensor(shape) { y in
            withValues { x in
                weight.withValues { weight in
                    bias.withValues { lk_layer_norm(y, x, weight, $0, rows, columns, epsilon) }
                }
            }
        }
    }

    /// silu(first half) · second half of every row. [rows, 2 n] → [rows, n]
    public func siluGated() throws -> Tensor {
        let half = columns / 2
        return try Tensor([rows, half]) { y in withValues { lk_silu_mul(y, $0, rows, half) } }
    }

    /// max(0, x), in place where nobody else holds the values.
    public consuming func relu() throws -> Tensor {
        var result = self
        let count = result.count
        try result.withMutableValues { lk_leaky_relu($0, count, 0) }
        return result
    }

    /// Every row divided by its Euclidean length (at least 1e-12).
    public consuming func unitRows() throws -> Tensor {
        var result = self
        let (rows, columns) = (result.rows, result.columns)
        try result.withMutableValues { values in
            for row in 0..<rows {
                let base = values + row * columns
                var squares = 0.0
                for i in 0..<columns { squares += Double(base[i]) * Double(base[i]) }
                lk_scale(base, columns, Float(1 / max(squares.squareRoot(), 1e-12)))
            }
        }
        return result
    }

    /// Rotary positions: in each of the first `heads` heads of a row the halves (a, b) become (a cos − b sin, b cos + a sin).
    ///
    /// - Parameters:
    ///   - cos, sin: [rows, headDim / 2]
    ///   - heads: heads of `headDim` columns from the start of each row; what follows them stays
    public consuming func rotated(cos: Tensor, sin: Tensor, heads: Int, headDim: Int) throws -> Tensor {
        guard cos.shape == sin.shape, cos.rows == rows, cos.columns * 2 == headDim, heads * headDim <= columns else {
            throw LyraError(
                .format, "a rotation \(cos.shape) does not fit \(heads) heads of \(headDim) in rows of \(columns)")
        }
        var result = self
        let (rows, columns) = (result.rows, result.columns)
        try result.withMutableValues { values in
            cos.withValues { cos in sin.withValues { sin in lk_rope(values, columns, cos, sin, rows, heads, headDim) } }
        }
        return result
    }

    private func checkColumns(_ expected: Int, _ what: String) throws {
        guard columns == expected else {
            throw LyraError(.format, "\(what) of \(expected) values does not take rows of \(columns)")
        }
    }
}

extension UnsafeBufferPointer<Float> {
    /// The index of the largest value, the first of equals; 0 if there is none.
    public func indexOfLargest() -> Int { baseAddress.map { lk_argmax($0, count) } ?? 0 }
}
