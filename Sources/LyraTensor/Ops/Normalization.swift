import CKernels
import LyraBase

extension Tensor {
    /// self / rms(self) · weight over the columns of each row. [rows, columns]
    ///
    /// - Parameter weight: [columns]
    public func rmsNormalized(weight: Tensor, epsilon: Float) throws -> Tensor {
        try checkColumns(weight.count, "an RMS norm")
        let y = try Tensor(shape) { y in
            try weight.withValues { weight in
                withMatrix { x, stride in lk_rms_norm(y, columns, x, stride, weight, rows, columns, epsilon) }
            }
        }
        return isTracked || weight.isTracked ? y.recorded(.rmsNorm(self, weight: weight, epsilon: epsilon)) : y
    }

    /// With i = 1 / rms(x) and g = weight · dy: dx = i · (g − x · i² · mean(g · x)), dweight = Σ dy · x · i.
    func propagateRMSNorm(_ dy: Tensor, weight: Tensor, epsilon: Float) throws {
        try propagateNorm(dy, weight, nil) { dx, dweight, _, statistics, dy, dyStride, x, stride, weight in
            lk_rms_norm_gradient(
                dx, dweight, dy, dyStride, x, stride, weight, rows, columns, epsilon, statistics)
        }
    }

    /// (self − mean) / √(variance + ε) · weight + bias over the columns of each row. [rows, columns]
    ///
    /// - Parameters:
    ///   - weight, bias: [columns]
    public func layerNormalized(weight: Tensor, bias: Tensor, epsilon: Float) throws -> Tensor {
        try checkColumns(weight.count, "a layer norm")
        try checkColumns(bias.count, "a layer norm's bias")
        let y = try Tensor(shape) { y in
            try weight.withValues { weight in
                try bias.withValues { bias in
                    withMatrix { x, stride in
                        lk_layer_norm(y, columns, x, stride, weight, bias, rows, columns, epsilon)
                    }
                }
            }
        }
        guard isTracked || weight.isTracked || bias.isTracked else { return y }
        return y.recorded(.layerNorm(self, weight: weight, bias: bias, epsilon: epsilon))
    }

    /// With h = (x − mean) · i, i = 1 / √(variance + ε) and g = weight · dy: dx = i · (g − mean(g) − h · mean(g · h)),
    /// dweight = Σ dy · h, dbias = Σ dy.
    func propagateLayerNorm(_ dy: Tensor, weight: Tensor, bias: Tensor, epsilon: Float) throws {
        try propagateNorm(dy, weight, bias) { dx, dweight, dbias, statistics, dy, dyStride, x, stride, weight in
            lk_layer_norm_gradient(
                dx, dweight, dbias, dy, dyStride, x, stride, weight, rows, columns, epsilon, statistics)
        }
    }

    private func propagateNorm(
        _ dy: Tensor, _ weight: Tensor, _ bias: Tensor?,
        _ kernel: (
            _ dx: UnsafeMutablePointer<Float>, _ dweight: UnsafeMutablePointer<Float>?,
            _ dbias: UnsafeMutablePointer<Float>?, _ statistics: UnsafeMutablePointer<Float>,
            _ dy: UnsafePointer<Float>, _ dyStride: Int, _ x: UnsafePointer<Float>, _ stride: Int,
            _ weight: UnsafePointer<Float>
        ) -> Void
    ) throws {
        let statistics = try FloatStorage(count: 2 * rows)
        let dx = try Tensor([rows, columns]) { dx in
            try weight.node.accumulating { dweight in
                try (bias?.node).accumulating { dbias in
                    try weight.withValues { weight in
                        dy.withMatrix { dy, dyStride in
                            withMatrix { x, stride in
                                kernel(dx, dweight, dbias, statistics.base, dy, dyStride, x, stride, weight)
                            }
                        }
                    }
                }
            }
        }
        withExtendedLifetime(statistics) {}
        try node?.add(dx)
    }

    /// Divides every row by its Euclidean length (at least 1e-12).
    public consuming func unitRows() throws -> Tensor {
        var result = self
        let (rows, columns, node) = (result.rows, result.columns, result.node)
        var lengths: [Float] = []
        try result.withMutableValues { values in
            for row in 0..<rows {
                let base = values + row * columns
                var squares = 0.0
                for i in 0..<columns { squares += Double(base[i]) * Double(base[i]) }
                let length = max(squares.squareRoot(), 1e-12)
                lk_scale(base, columns, Float(1 / length))
                if node != nil { lengths.append(Float(length)) }
            }
        }
        guard let node else { return result }
        return result.recorded(.unitRows(of: node, result: result, lengths: lengths))
    }

    /// y = x / |x|: dx = (dy − y · (y · dy)) / |x|, or dy / |x| where the length was raised to 1e-12. self: y
    func propagateUnitRows(_ dy: Tensor, to x: GradientNode, lengths: [Float]) throws {
        try x.add(
            Tensor([rows, columns]) { dx in
                withMatrix { y, stride in
                    dy.withMatrix { dy, dyStride in
                        for row in 0..<rows {
                            let (y, dy, dx) = (y + row * stride, dy + row * dyStride, dx + row * columns)
                            var product = 0.0
                            for i in 0..<columns { product += Double(y[i]) * Double(dy[i]) }
                            let along = lengths[row] > 1e-12 ? Float(product) : 0
                            for i in 0..<columns { dx[i] = (dy[i] - y[i] * along) / lengths[row] }
                        }
                    }
                }
            })
    }

    private func checkColumns(_ expected: Int, _ what: String) throws {
        guard columns == expected else {
            throw LyraError(.argument, "\(what) of \(expected) values does not take rows of \(columns)")
        }
    }
}
