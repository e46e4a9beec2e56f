import CKernels
import Glibc
import LyraTensor

/// Muon (Jordan et al., 2024): momentum whose directions all count alike. A matrix steps by the momentum U·Σ·Vᵀ with
/// Σ replaced by about 1, so that directions that few examples show are learned as fast as others.
///
///     m ← μ · m + g
///     O ← orthogonal(g + μ · m)                    Nesterov's form
///     w ← (1 - η λ) · w - η · 0.2 · √max(rows, columns) · O
///
/// The factor gives the step the size of AdamW's, so that the same rates serve for both (Liu et al., arXiv 2502.16982).
extension Optimizer.Slot {
    mutating func stepMuon(
        _ parameter: UnsafeMutablePointer<Float>, _ gradient: Tensor, _ settings: Optimizer.Group, rate: Double,
        gradientScale: Double
    ) throws {
        let momentum = Float(settings.beta1), scale = Float(gradientScale), count = gradient.count
        let (rows, columns) = (gradient.shape[0], gradient.shape[1])
        try gradient.withValues { g in
            try first.withMutableValues { m in
                var ahead = try Tensor(zeros: gradient.shape)
                try ahead.withMutableValues { ahead in
                    // The momentum changes only when nothing can fail any more.
                    for i in 0..<count {
                        let next = momentum * m[i] + scale * g[i]
                        ahead[i] = scale * g[i] + momentum * next
                    }
                    try Orthogonalization(rows: rows, columns: columns).apply(to: ahead)
                    let keep = Float(1 - rate * settings.weightDecay)
                    let size = Float(rate * 0.2 * Double(max(rows, columns)).squareRoot())
                    for i in 0..<count {
                        m[i] = momentum * m[i] + scale * g[i]
                        parameter[i] = keep * parameter[i] - size * ahead[i]
                    }
                }
            }
        }
    }
}

/// Brings the singular values of a matrix near 1 and leaves its singular vectors: five steps of Newton and Schulz's
/// iteration, with the coefficients of Muon. Singular values above a hundredth of the norm come between 0.68 and 1.21.
struct Orthogonalization {
    let rows, columns: Int

    private static let steps = 5
    /// Keeps a momentum that has faded away from becoming a step.
    private static let leastNorm = 1e-7
    private static let (a, b, c): (Float, Float, Float) = (3.4445, -4.7750, 2.0315)

    /// X ← a · X + (b · A + c · A²) · X with A = X · Xᵀ, from X / ‖X‖. If there are more rows than columns, A = Xᵀ · X
    /// and stands on the other side, which is the same and less work.
    ///
    /// - Parameter x: [rows, columns], changed in place
    /// - Throws: `LyraError.memory` if there is no room; x is then of no use
    func apply(to x: UnsafeMutablePointer<Float>) throws {
        let norm = lk_square_sum(x, rows * columns).squareRoot()
        // What is not finite stays as it is.
        guard norm.isFinite else { return }
        lk_scale(x, rows * columns, Float(1 / (norm + Self.leastNorm)))
        let isTall = rows > columns, side = min(rows, columns)
        var gram = try Tensor(zeros: [side, side]), polynomial = try Tensor(zeros: [side, side])
        var next = try Tensor(zeros: [rows, columns])
        try gram.withMutableValues { gram in
            try polynomial.withMutableValues { polynomial in
                try next.withMutableValues { next in
                    for _ in 0..<Self.steps {
                        let factor = lk_factor(data: x, ld: columns, transposed: 0)
                        let turned = lk_factor(data: x, ld: columns, transposed: 1)
                        try multiply(
                            isTall ? turned : factor, isTall ? factor : turned, addedTo: nil, gram,
                            (side, side, max(rows, columns)))
                        let square = lk_factor(data: gram, ld: side, transposed: 0)
                        try multiply(square, square, addedTo: (gram, Self.b / Self.c), polynomial, (side, side, side))
                        lk_scale(polynomial, side * side, Self.c)
                        let change = lk_factor(data: polynomial, ld: side, transposed: 0)
                        try multiply(
                            isTall ? factor : change, isTall ? change : factor, addedTo: (x, Self.a), next,
                            (rows, columns, side))
                        x.update(from: next, count: rows * columns)
                    }
                }
            }
        }
    }

    /// y = left · right, with `scale` times another matrix if there is one.
    private func multiply(
        _ left: lk_factor, _ right: lk_factor, addedTo other: (UnsafeMutablePointer<Float>, scale: Float)?,
        _ y: UnsafeMutablePointer<Float>, _ sizes: (rows: Int, columns: Int, depth: Int)
    ) throws {
        if let (values, scale) = other {
            y.update(from: values, count: sizes.rows * sizes.columns)
            lk_scale(y, sizes.rows * sizes.columns, scale)
        }
        let status = lk_matrix_product(
            y, sizes.columns, left, right, sizes.rows, sizes.columns, sizes.depth, other == nil ? 0 : 1)
        try checkKernel(status, "Muon's product of matrices")
    }
}
