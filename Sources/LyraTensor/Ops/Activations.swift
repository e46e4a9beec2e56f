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
        return try Tensor(gate.shape) { y in
            gate.withMatrix { gate, gateStride in
                up.withMatrix { lk_silu_mul(y, columns, gate, gateStride, $0, $1, rows, columns) }
            }
        }
    }

    /// max(self, slope · self): leaky ReLU; a slope of 0 gives ReLU.
    public consuming func leakyRelu(slope: Float) throws -> Tensor {
        var result = self
        let count = result.count
        try result.withMutableValues { lk_leaky_relu($0, count, slope) }
        return result
    }

    /// max(0, self)
    public consuming func relu() throws -> Tensor { try leakyRelu(slope: 0) }

    public consuming func tanh() throws -> Tensor {
        var result = self
        let count = result.count
        try result.withMutableValues { lk_tanh($0, count) }
        return result
    }
}
