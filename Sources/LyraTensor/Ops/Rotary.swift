import CKernels
import Glibc
import LyraBase

/// Cosines and sines of rotary positions (RoPE, arXiv 2104.09864): [positions, headDim / 2] each.
public struct Rotation: Sendable {
    let cos: Tensor
    let sin: Tensor

    /// - Parameter angles: in radians, [positions, headDim / 2]
    public init(angles: Tensor) throws {
        cos = try angles.mapped(cosf)
        sin = try angles.mapped(sinf)
    }

    init(cos: Tensor, sin: Tensor) { (self.cos, self.sin) = (cos, sin) }

    public var positions: Int { cos.rows }
    public var headDim: Int { 2 * cos.columns }

    /// The rotation by the opposite angles, which is also the transpose: a gradient turns back.
    func inverse() throws -> Rotation { Rotation(cos: cos, sin: try sin.scaled(by: -1)) }

    /// The rotation for a range of the positions, which must be within it.
    public func rows(_ range: Range<Int>) -> Rotation { Rotation(cos: cos.rows(range), sin: sin.rows(range)) }
}

extension Tensor {
    /// Rotates each of the first `heads` heads of a row: its halves (a, b) become (a cos − b sin, b cos + a sin).
    /// Columns after those heads stay unchanged.
    ///
    /// - Parameter rotation: one position for each row
    /// - Throws: `LyraError.argument` if the rotation does not fit.
    public consuming func rotated(_ rotation: Rotation, heads: Int) throws -> Tensor {
        var result = self
        let (rows, columns, dim, node) = (result.rows, result.columns, rotation.headDim, result.node)
        guard rotation.positions == rows, heads * dim <= columns else {
            throw LyraError(
                .argument,
                "a rotation of \(rotation.positions) positions does not fit \(heads) heads of \(dim) in \(rows) rows "
                    + "of \(columns)")
        }
        try result.withMutableValues { values in
            try rotation.cos.withValues { cos in
                try rotation.sin.withValues { sin in
                    lk_rope(values, columns, values, columns, cos, sin, rows, heads, dim)
                }
            }
        }
        guard let node else { return result }
        return result.recorded(.rotation(of: node, rotation, heads: heads))
    }

    /// Applies a function to every value.
    func mapped(_ function: (Float) -> Float) throws -> Tensor {
        let x = try contiguous()
        return try Tensor(shape) { out in
            try x.withMatrix { values, _ in
                try Tensor.forEachRange(of: count) { for i in $0 { out[i] = function(values[i]) } }
            }
        }
    }
}
