import CKernels
import LyraBase
import LyraTensor

/// Limits the norm of all gradients together (Pascanu and others, arXiv 1211.5063), as torch's clip_grad_norm_ does.
public enum GradientClipping {
    /// The sum of squares of a gradient, in double precision: to be added over all gradients.
    ///
    /// - Throws: `LyraError.memory` if rows lie apart and there is no room for a copy, `.state` if interrupted.
    public static func squareSum(_ gradient: Tensor) throws -> Double {
        let sum = try gradient.withValues { lk_square_sum($0, gradient.count) }
        try Interruption.check()
        return sum
    }

    /// The Euclidean norm of all gradients as one vector; infinite or NaN if an element is.
    ///
    /// - Throws: as `squareSum`.
    public static func norm(_ gradients: some Sequence<Tensor>) throws -> Double {
        try gradients.reduce(0) { $0 + (try squareSum($1)) }.squareRoot()
    }

    /// Keeps a norm of 0 from a division by it: torch's value.
    private static let epsilon = 1e-6

    /// The factor that brings gradients of this norm to `limit` at most: the `gradientScale` of an update. Nil if the
    /// norm is not finite: the update should then be left out.
    ///
    /// - Parameter limit: above 0
    public static func factor(norm: Double, limit: Double) -> Double? {
        norm.isFinite ? min(1, limit / (norm + epsilon)) : nil
    }
}
