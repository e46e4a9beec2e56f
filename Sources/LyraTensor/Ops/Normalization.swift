import CKernels
import LyraBase

extension Tensor {
    /// self / rms(self) · weight over the columns of each row. [rows, columns]
    ///
    /// - Parameter weight: [columns]
    public func rmsNormalized(weight: Tensor, epsilon: Float) throws -> Tensor {
        try checkColumns(weight.count, "an RMS norm")
        return try Tensor(shape) { y in
            try weight.withValues { weight in
                withMatrix { x, stride in lk_rms_norm(y, columns, x, stride, weight, rows, columns, epsilon) }
            }
        }
    }

    /// (self − mean) / √(variance + ε) · weight + bias over the columns of each row. [rows, columns]
    ///
    /// - Parameters:
    ///   - weight, bias: [columns]
    public func layerNormalized(weight: Tensor, bias: Tensor, epsilon: Float) throws -> Tensor {
        try checkColumns(weight.count, "a layer norm")
        try checkColumns(bias.count, "a layer norm's bias")
        return try Tensor(shape) { y in
            try weight.withValues { weight in
                try bias.withValues { bias in
                    withMatrix { x, stride in
                        lk_layer_norm(y, columns, x, stride, weight, bias, rows, columns, epsilon)
                    }
                }
            }
        }
    }

    /// Divides every row by its Euclidean length (at least 1e-12).
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

    private func checkColumns(_ expected: Int, _ what: String) throws {
        guard columns == expected else {
            throw LyraError(.argument, "\(what) of \(expected) values does not take rows of \(columns)")
        }
    }
}
