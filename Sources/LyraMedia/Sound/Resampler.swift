import Glibc
import LyraBase

/// Changes the sample rate of a mono stream with a windowed sinc.
///
/// The output is that of torchaudio.functional.resample with its defaults (`sinc_interp_hann`, lowpass filter width 6,
/// rolloff 0.99). Silence is assumed before and after the samples; n samples become ⌈n · to / from⌉. The output is
/// bit-identical for any division of the input into pieces. Memory depends only on the two rates.
public final class Resampler {
    /// Zero crossings of the sinc on each side (torchaudio's `lowpass_filter_width`).
    private static let zeroCrossings = 6.0
    /// The cutoff as a share of the lower Nyquist frequency (torchaudio's `rolloff`).
    private static let rolloff = 0.99
    /// The most taps of a table of all phases (16 MiB). For rates that need more, the taps of each output are computed.
    private static let largestTable = 1 << 22
    private static let lanes = 8

    /// Both rates divided by their greatest common divisor. With equal rates samples are only copied.
    private let from: Int
    private let to: Int
    /// Taps before the last input sample that is not after the output sample.
    private let left: Int
    /// Taps of a phase, rounded up to a multiple of `lanes`; taps beyond the window are 0.
    private let taps: Int
    /// [phases, taps], or [1, taps] without a table.
    private let kernels: GrowingBuffer<Float>
    private let hasTable: Bool

    /// Input samples that later outputs need. At the start, `left` samples of silence.
    private let history: GrowingBuffer<Float>
    private var historyCount: Int
    /// The index in `history` of the next output's first tap.
    private var next = 0
    /// The index of the next output, modulo `to`.
    private var phase = 0
    /// The next output is `fraction / to` sample periods after the sample `history[next + left]`.
    private var fraction = 0
    /// Input samples that are not before the next output. At 0 or below, no output remains.
    private var pending: Int64 = 0

    /// - Parameters:
    ///   - from: The rate of the input, 1 … 1,000,000 Hz.
    ///   - to: The rate of the output, 1 … 1,000,000 Hz.
    /// - Throws: `LyraError(.argument)` if a rate is out of range, `.memory`.
    public init(from: Int, to: Int) throws {
        for rate in [from, to] where !AudioLimits.sampleRates.contains(rate) {
            throw LyraError(
                .argument,
                "resampling: a rate of \(rate) Hz; it must be 1 … \(AudioLimits.sampleRates.upperBound) Hz")
        }
        let divisor = Self.greatestCommonDivisor(from, to)
        self.from = from / divisor
        self.to = to / divisor
        // Half the window, in input samples: at most 6 · 1e6 / 0.99.
        let half = Self.zeroCrossings * Double(self.from) / (Self.rolloff * Double(min(self.from, self.to)))
        left = Int(half.rounded(.up))
        taps = (2 * left + 2 + Self.lanes - 1) / Self.lanes * Self.lanes
        hasTable = self.to <= Self.largestTable / taps
        kernels = try GrowingBuffer(repeating: 0, count: (hasTable ? self.to : 1) * taps)
        history = try GrowingBuffer(repeating: 0, count: taps + min(taps, 1 << 18) + (1 << 14))
        historyCount = left
        if hasTable, self.from != self.to { fillTable() }
    }

    /// Resamples until `input` is consumed or `output` is full.
    ///
    /// - Returns: The number of samples consumed from `input` (pass the rest again) and written to `output`.
    public func process(
        _ input: UnsafeBufferPointer<Float>, into output: UnsafeMutableBufferPointer<Float>
    ) -> (consumed: Int, produced: Int) {
        if from == to {
            let count = min(input.count, output.count)
            if let source = input.baseAddress, let target = output.baseAddress {
                target.update(from: source, count: count)
            }
            return (count, count)
        }
        var consumed = 0
        var produced = emit(into: output, from: 0)
        while consumed < input.count, produced < output.count {
            consumed += take(UnsafeBufferPointer(rebasing: input[consumed...]))
            produced = emit(into: output, from: produced)
        }
        return (consumed, produced)
    }

    /// Writes the last samples, after all input. Call it until it returns 0.
    ///
    /// - Returns: The number of samples written.
    public func finish(into output: UnsafeMutableBufferPointer<Float>) -> Int {
        guard from != to else { return 0 }
        var produced = 0
        while pending > 0, produced < output.count {
            if next + taps > historyCount {
                compact()
                // The silence after the recording, which does not count as pending.
                for index in historyCount..<max(historyCount, taps) { history[index] = 0 }
                historyCount = max(historyCount, taps)
            }
            produced = emit(into: output, from: produced)
        }
        return produced
    }

    // MARK: History

    private func take(_ input: UnsafeBufferPointer<Float>) -> Int {
        if historyCount == history.count { compact() }
        let count = min(input.count, history.count - historyCount)
        if let base = history.elements.baseAddress, let source = input.baseAddress {
            (base + historyCount).update(from: source, count: count)
        }
        historyCount += count
        pending += Int64(count)
        return count
    }

    /// Drops the samples that no later output needs. An output advances `next` by at most a window, so `next` stays
    /// within the history.
    private func compact() {
        let kept = historyCount - next
        if let base = history.elements.baseAddress, next > 0 { base.update(from: base + next, count: kept) }
        historyCount = kept
        next = 0
    }

    // MARK: Output

    /// Writes outputs from `output[start]` on, while their taps are in the history and the recording has not ended.
    private func emit(into output: UnsafeMutableBufferPointer<Float>, from start: Int) -> Int {
        let whole = from / to
        let part = from % to
        var produced = start
        guard let kernels = kernels.elements.baseAddress, let history = history.elements.baseAddress else {
            return start
        }
        while produced < output.count, next &+ taps <= historyCount, pending > 0 {
            if !hasTable { fillExactKernel(kernels, fraction: fraction) }
            let kernel = hasTable ? kernels + phase &* taps : kernels
            output[produced] = Self.dot(history + next, kernel, count: taps)
            produced &+= 1
            var step = whole
            fraction &+= part
            if fraction >= to {
                fraction &-= to
                step &+= 1
            }
            phase &+= 1
            if phase == to { phase = 0 }
            next &+= step
            pending &-= Int64(step)
        }
        return produced
    }

    /// Sums `count` (a multiple of `lanes`) products, always in the same order.
    @inline(__always)
    private static func dot(_ a: UnsafePointer<Float>, _ b: UnsafePointer<Float>, count: Int) -> Float {
        let a = UnsafeRawPointer(a)
        let b = UnsafeRawPointer(b)
        var sum = SIMD8<Float>()
        var offset = 0
        let end = count &* MemoryLayout<Float>.stride
        while offset < end {
            sum +=
                a.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
                * b.loadUnaligned(fromByteOffset: offset, as: SIMD8<Float>.self)
            offset &+= MemoryLayout<SIMD8<Float>>.stride
        }
        let four = sum.lowHalf + sum.highHalf
        let two = four.lowHalf + four.highHalf
        return two[0] + two[1]
    }

    // MARK: Kernels

    /// Writes the taps of every phase in float32, in torchaudio's order of operations. Its rounding errors change the
    /// taps by 1e-4 and more if the reduced rates are in the thousands, and the output must equal torchaudio's.
    private func fillTable() {
        let cutoff = Self.rolloff * Double(min(from, to))
        let scale = Float(cutoff / Double(from))
        let crossings = Float(Self.zeroCrossings)
        for phase in 0..<to {
            let first = phase * from / to - left
            let start = -Float(phase) / Float(to)
            for tap in 0..<taps {
                let t = (start + Float(first + tap) / Float(from)) * Float(cutoff)
                guard t.magnitude < crossings else { continue }
                let cosine = cos(t * Float.pi / crossings / 2)
                let angle = t * Float.pi
                kernels[phase * taps + tap] = (t == 0 ? 1 : sin(angle) / angle) * (cosine * cosine * scale)
            }
        }
    }

    /// Writes the taps for an output `fraction / to` sample periods after an input sample. Used for rates whose table
    /// would be too large (torchaudio's would have 10 GB and more).
    ///
    /// Tap k weights the sample at a distance of k − left − fraction / to input samples, which are t zero crossings.
    /// The weight is scale · sinc(t) · cos²(πt / 12).
    private func fillExactKernel(_ kernel: UnsafeMutablePointer<Float>, fraction: Int) {
        let scale = Self.rolloff * Double(min(from, to)) / Double(from)
        let start = -Double(fraction) / Double(to) * scale
        // Rotations compute sin(πt) and cos(πt / 6) at equal steps, outward from the center, so that the error grows
        // only as 1 / t shrinks.
        fillSide(kernel + left, step: 1, count: taps - left, start: start, spacing: scale)
        fillSide(kernel + left - 1, step: -1, count: left, start: start - scale, spacing: -scale)
    }

    private func fillSide(
        _ kernel: UnsafeMutablePointer<Float>, step: Int, count: Int, start: Double, spacing: Double
    ) {
        var sine = sin(.pi * start)
        var cosine = cos(.pi * start)
        let sineStep = sin(.pi * spacing)
        let cosineStep = cos(.pi * spacing)
        var windowSine = sin(.pi * start / Self.zeroCrossings)
        var windowCosine = cos(.pi * start / Self.zeroCrossings)
        let windowSineStep = sin(.pi * spacing / Self.zeroCrossings)
        let windowCosineStep = cos(.pi * spacing / Self.zeroCrossings)
        let scale = spacing.magnitude
        for index in 0..<count {
            let t = start + Double(index) * spacing
            var weight = 0.0
            if t.magnitude < Self.zeroCrossings {
                weight = scale * (t == 0 ? 1 : sine / (.pi * t)) * (0.5 + 0.5 * windowCosine)
            }
            kernel[index &* step] = Float(weight)
            (sine, cosine) = (sine * cosineStep + cosine * sineStep, cosine * cosineStep - sine * sineStep)
            (windowSine, windowCosine) = (
                windowSine * windowCosineStep + windowCosine * windowSineStep,
                windowCosine * windowCosineStep - windowSine * windowSineStep
            )
        }
    }

    private static func greatestCommonDivisor(_ a: Int, _ b: Int) -> Int {
        var (a, b) = (a, b)
        while b != 0 { (a, b) = (b, a % b) }
        return a
    }
}
