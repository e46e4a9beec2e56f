import CKernels
import LyraBase

extension Tensor {
    /// silu(gate) · up (SwiGLU, arXiv 2002.05202). [rows, columns]
    ///
    /// - Throws: `LyraError.argument` if the shapes differ.
    public static func siluProduct(gate: Tensor, up: Tensor) throws -> Tensor {
        guard gate.shape == up.shape else {
            throw LyraError(.argument, "a gate \(gate.shape) does not fit \(up.shape); their shapes must be equal")
        }
        let (rows, columns) = (gate.rows, gate.columns)
        let y = try Tensor(gate.shape) { y in
            gate.withMatrix { gate, gateStride in
                up.withMatrix { lk_silu_mul(y, columns, gate, gateStride, $0, $1, rows, columns) }
            }
        }
        return gate.isTracked || up.isTracked ? y.recorded(.siluProduct(gate: gate, up: up)) : y
    }

    /// With s = σ(gate): dgate = dy · up · s · (1 + gate · (1 − s)), dup = dy · gate · s.
    static func propagateSiluProduct(_ dy: Tensor, gate: Tensor, up: Tensor) throws {
        let (rows, columns) = (dy.rows, dy.columns)
        // Side by side, as gate and up are.
        let both = try Tensor([rows, 2 * columns]) { both in
            gate.withMatrix { gate, gateStride in
                up.withMatrix { up, upStride in
                    dy.withMatrix { dy, stride in
                        lk_silu_mul_gradient(
                            both, 2 * columns, both + columns, 2 * columns, dy, stride, gate, gateStride, up, upStride,
                            rows, columns)
                    }
                }
            }
        }
        try gate.node?.add(both.columns(0..<columns))
        try up.node?.add(both.columns(columns..<2 * columns))
    }

    /// activation(self), as a product computes it in one pass.
    func activated(_ activation: Activation) throws -> Tensor {
        guard activation != .identity else { return self }
        var result = self
        let count = count
        try result.withMutableValues { lk_activate($0, count, activation.epilogue) }
        return isTracked ? result.recorded(.activation(activation, of: self)) : result
    }

    /// GELU x · Φ(x): dx = dy · (Φ(x) + x · φ(x)). Quick GELU x · s with s = σ(1.702 x): dx = dy · (s + 1.702 x · s ·
    /// (1 − s)).
    func propagateActivation(_ dy: Tensor, _ activation: Activation) throws {
        try node?.add(
            Tensor([rows, columns]) { dx in
                try dy.withValues { dy in
                    try withValues { lk_activation_gradient(dx, dy, $0, count, activation.epilogue) }
                }
            })
    }

    /// max(self, slope · self): leaky ReLU; a slope of 0 gives ReLU.
    public consuming func leakyRelu(slope: Float) throws -> Tensor {
        var result = self
        let count = result.count, node = result.node
        try result.withMutableValues { lk_leaky_relu($0, count, slope) }
        guard let node else { return result }
        return result.recorded(.leakyRelu(of: node, slope: slope, result: result))
    }

    /// dx = dy where y is above 0, slope · dy elsewhere. self: y
    func propagateLeakyRelu(_ dy: Tensor, to x: GradientNode, slope: Float) throws {
        try x.add(
            Tensor([rows, columns]) { dx in
                try dy.withValues { dy in
                    try withValues { lk_leaky_relu_gradient(dx, dy, $0, count, slope) }
                }
            })
    }

    /// max(0, self)
    public consuming func relu() throws -> Tensor { try leakyRelu(slope: 0) }

    public consuming func tanh() throws -> Tensor {
        var result = self
        let count = result.count, node = result.node
        try result.withMutableValues { lk_tanh($0, count) }
        guard let node else { return result }
        return result.recorded(.tanh(of: node, result: result))
    }

    /// dx = dy · (1 − y²). self: y
    func propagateTanh(_ dy: Tensor, to x: GradientNode) throws {
        try x.add(
            Tensor([rows, columns]) { dx in
                try dy.withValues { dy in
                    try withValues { lk_tanh_gradient(dx, dy, $0, count) }
                }
            })
    }
}
