import LyraBase
import LyraTensor

/// A loss between a generated waveform and its target.
public struct WaveformLoss: Sendable {
    public let value: Double
    /// The gradient of gradientScale · value with respect to the generated samples, [samples]
    public let gradient: Tensor

    /// Runs `body` with the samples of two waveforms of one length, and a gradient of zeros for it to add to.
    ///
    /// - Throws: `LyraError.argument` if the lengths differ, and any error of `body`.
    init(
        _ generated: Tensor, _ target: Tensor,
        _ body: (_ waves: Waveforms, _ gradient: GrowingBuffer<Double>) throws -> Double
    ) throws {
        guard generated.count == target.count else {
            throw LyraError(
                .argument,
                "waveform loss: \(generated.count) generated samples, but the target has \(target.count)")
        }
        let sum = try GrowingBuffer(repeating: 0.0, count: generated.count)
        value = try generated.withValues { generated in
            try target.withValues { target in
                try body(Waveforms(generated: generated, target: target, samples: sum.count), sum)
            }
        }
        gradient = try Tensor([sum.count]) { samples in
            for index in 0..<sum.count { samples[index] = Float(sum[index]) }
        }
    }

    /// Valid only while `init` runs its body.
    struct Waveforms {
        let generated: UnsafePointer<Float>
        let target: UnsafePointer<Float>
        let samples: Int
    }
}

/// 1, −1 or 0: the derivative of |x|.
func signum(_ x: Double) -> Double { x > 0 ? 1 : x < 0 ? -1 : 0 }
