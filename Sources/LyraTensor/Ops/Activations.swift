import CKernels
import LyraBase

extension Tensor {
    /// silu(gate) · up, where gate and up are the two halves of every row (SwiGLU, arXiv 2002.05202).
    /// [rows, 2 n] → [rows, n]
    public func siluGated() throws -> Tensor {
        let half = columns / 2
        let gateUp = try contiguous()
        return try Tensor([rows, half]) { y in gateUp.withMatrix { gateUp, _ in lk_silu_mul(y, gateUp, rows, half) } }
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
