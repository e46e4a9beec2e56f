import CKernels
import Glibc
import LyraTensor

/// AdamW: Adam with decoupled weight decay (Loshchilov and Hutter, arXiv 1711.05101, algorithm 2), as
/// torch.optim.AdamW computes it.
extension Optimizer.Slot {
    mutating func stepAdamW(
        _ parameter: UnsafeMutablePointer<Float>, _ gradient: Tensor, _ settings: Optimizer.Group, rate: Double,
        gradientScale: Double
    ) throws {
        var step = kernelStep(settings, rate: rate, gradientScale)
        let count = gradient.count
        try gradient.withValues { gradient in
            try first.withMutableValues { first in
                try second.withMutableValues { lk_adamw(parameter, first, $0, gradient, count, &step) }
            }
        }
    }

    /// What is the same for all elements, computed in double precision.
    private func kernelStep(_ group: Optimizer.Group, rate: Double, _ gradientScale: Double) -> lk_adamw_step {
        let number = Double(steps + 1)
        return lk_adamw_step(
            gradient_scale: Float(gradientScale), first_share: Float(1 - group.beta1),
            second_keep: Float(group.beta2), second_share: Float(1 - group.beta2),
            keep: Float(1 - rate * group.weightDecay), size: Float(rate / (1 - pow(group.beta1, number))),
            root_scale: Float(1 / (1 - pow(group.beta2, number)).squareRoot()), epsilon: Float(group.epsilon))
    }
}
