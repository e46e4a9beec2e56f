import Glibc
import LyraBase

/// Changes the rate of mono samples with a windowed sinc, piece by piece.
///
/// The whole output equals torchaudio.functional.resample with its defaults (`sinc_interp_hann`, lowpass filter width
/// 6, rolloff 0.99): silence is assumed before the first and after the last sample, and n samples become ⌈n · to /
/// from⌉. How the input is cut does not change a bit of the output. Memory depends on the two rates only.
public final class Resampler {
    /// Zero crossings of the sinc on each side (torchaudio's `lowpass_filter_width`).
    private static let zeroCrossings = 6.0
    /// The cutoff as a share of the lower Nyquist frequency (torchaudio's `rolloff`).
    private static let rolloff = 0.99
    /// A table of all phases is kept if it has at most this many taps (16 MiB); otherwise each is computed when it is
    /// needed.
    private static let largestTable = 1 << 22
    private static let lanes = 8

    /// Both rates divided by their greatest common divisor. With equal rates samples are only copied.
    private let from: Int
    private let to: Int
    /// Taps left of the sample at or before the output's time.
    private let left: Int
    /// Taps of a phase, a multiple of `lanes`; those past the window are 0.
    private let taps: Int
    /// [phases, taps], or [1, taps] if phases are computed one by one.
    private let kernels: GrowingBuffer<Float>
    private let hasTable: Bool

    /// Samples that outputs to come still need. The first `left` are the silence before the recording.
    private let history: GrowingBuffer<Float>
    private var historyCount: Int
    /// Where in `history` the next output's first tap lies.
    private var next = 0
    /// The next output's number modulo `to`.
    private var phase = 0
    /// The next output lies fraction / to of a sample after sample `next + left`.
    private var fraction = 0
    /// Samples at or after the next output's: negative or 0 when all outputs are out.
    private var pending: Int64 = 0

    /// - Parameters:
    ///   - from: The rate of the input, 1 … 1,000,000 Hz.
    ///   - to: The rate of the output, 1 … 1,000,000 Hz.
    /// - Throws: `LyraError(.argument)` if a rate is out of its range, `.memory` if there is no room.
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

    /// Takes samples in and gives samples out, until either the input or the room for output is used up.
    /// - Returns: How many samples of `input` were taken (give the rest again), and how many of `output` were written.
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

    /// Gives the last samples, once all input was processed. Call it until it returns 0.
    /// - Returns: The number of samples written.
    public func finish(into output: UnsafeMutableBufferPointer<Float>) -> Int {
        guard from != to else { return 0 }
        var produced = 0
        while pending > 0, produced < output.count {
            if next + taps > historyCount {
                compact()
                // The silence after the recording; it does not count as pending.
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

    /// Forgets what no output needs any more. An output moves `next` by at most a window, so `next` stays in the
    /// history.
    private func compact() {
        let kept = historyCount - next
        if let base = history.elements.baseAddress, next > 0 { base.update(from: base + next, count: kept) }
        historyCount = kept
        next = 0
    }

    // MARK: Output

    /// Writes the outputs whose taps are all in the history, and of which none lies past the end, from `start` on.
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

    /// Writes the taps of every phase, in float32 and with the roundings that torchaudio's have: with reduced rates of
    /// some thousands they move the taps by 1e-4 and more, and its numbers are what is promised.
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

    /// Writes the taps for outputs that lie `fraction / to` of a sample after an input sample, for rates whose table
    /// would be too large (torchaudio's would be 10 GB and more).
    ///
    /// Tap k weighs the sample at a distance of k − left − fraction / to input samples; in zero crossings that is t,
    /// and the weight is scale · sinc(t) · cos²(πt / 12).
    private func fillExactKernel(_ kernel: UnsafeMutablePointer<Float>, fraction: Int) {
        let scale = Self.rolloff * Double(min(from, to)) / Double(from)
        let start = -Double(fraction) / Double(to) * scale
        // sin(πt) and cos(πt / 6) at equal steps by rotation. It runs outwards from the centre, so its error grows only
        // as 1 / t shrinks.
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
