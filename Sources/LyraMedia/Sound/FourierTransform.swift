import Glibc
import LyraBase
import LyraTensor

/// The discrete Fourier transform of any length, of several complex signals at once: each lane of a vector is a signal.
///
/// A self-sorting (Stockham) transform with one pass for each factor of the length: 4, 2, 3, 5, then larger primes p,
/// with p² operations each.
package struct FourierTransform: Sendable {
    package typealias Lanes = SIMD4<Double>

    private typealias Factor = (re: Double, im: Double)

    private struct Pass: Sendable {
        let radix: Int
        /// Before this pass, `stride` interleaved signals of `radix · groups` values remain to be transformed.
        let groups: Int
        let stride: Int
        /// exp(−2πi · group · k / (radix · groups)): [groups, radix].
        let twiddles: GrowingBuffer<Factor>
        /// exp(−2πi · k / radix): [radix].
        let roots: GrowingBuffer<Factor>
    }

    package let count: Int
    private let passes: [Pass]

    /// - Parameter count: The length, at least 1.
    /// - Throws: `LyraError(.memory)`.
    package init(count: Int) throws {
        self.count = count
        var passes: [Pass] = []
        var rest = count
        var stride = 1
        while rest > 1 {
            let radix = Self.factor(of: rest)
            let groups = rest / radix
            let twiddles = try GrowingBuffer(
                copying: (0..<rest).lazy.map { Self.root($0 / radix * ($0 % radix), of: rest) })
            let roots = try GrowingBuffer(copying: (0..<radix).lazy.map { Self.root($0, of: radix) })
            passes.append(Pass(radix: radix, groups: groups, stride: stride, twiddles: twiddles, roots: roots))
            stride *= radix
            rest = groups
        }
        self.passes = passes
    }

    private static func factor(of count: Int) -> Int {
        for small in [4, 2, 3, 5] where count % small == 0 { return small }
        var candidate = 7
        while candidate * candidate <= count {
            if count % candidate == 0 { return candidate }
            candidate += 2
        }
        return count
    }

    private static func root(_ power: Int, of count: Int) -> (re: Double, im: Double) {
        let angle = -2 * Double.pi * Double(power % count) / Double(count)
        return (cos(angle), sin(angle))
    }

    /// A complex signal in each lane: `count` real and `count` imaginary parts.
    package struct Signal {
        package let re: UnsafeMutablePointer<Lanes>
        package let im: UnsafeMutablePointer<Lanes>

        package init(re: UnsafeMutablePointer<Lanes>, im: UnsafeMutablePointer<Lanes>) {
            (self.re, self.im) = (re, im)
        }
    }

    /// Memory for signals, initially 0.
    package struct Workspace {
        package let base: UnsafeMutablePointer<Lanes>
        private let storage: FloatStorage

        /// - Throws: `LyraError(.memory)`.
        package init(_ count: Int) throws {
            storage = try FloatStorage(count: count * MemoryLayout<Lanes>.stride / MemoryLayout<Float>.stride)
            base = UnsafeMutableRawPointer(storage.base).bindMemory(to: Lanes.self, capacity: count)
            base.initialize(repeating: Lanes(), count: count)
        }
    }

    /// Transforms `signal`, using `scratch`; both are overwritten.
    ///
    /// - Returns: `signal` or `scratch`, whichever holds the spectrum.
    package func transform(_ signal: Signal, scratch: Signal) -> Signal {
        var (source, target) = (signal, scratch)
        for pass in passes {
            guard let twiddles = pass.twiddles.elements.baseAddress else { continue }
            switch pass.radix {
            case 4: Self.radix4(pass, twiddles, source, target)
            case 5: Self.radix5(pass, twiddles, source, target)
            default: Self.radixAny(pass, twiddles, source, target)
            }
            (source, target) = (target, source)
        }
        return source
    }

    private typealias Twiddles = UnsafeMutablePointer<Factor>

    @inline(__always)
    private static func store(
        _ re: Lanes, _ im: Lanes, times twiddle: (re: Double, im: Double), to target: Signal, at index: Int
    ) {
        target.re[index] = re * twiddle.re - im * twiddle.im
        target.im[index] = re * twiddle.im + im * twiddle.re
    }

    private static func radix4(_ pass: Pass, _ twiddles: Twiddles, _ x: Signal, _ y: Signal) {
        let (groups, stride) = (pass.groups, pass.stride)
        let jump = groups &* stride
        for group in 0..<groups {
            let w = twiddles + 4 &* group
            for lane in 0..<stride {
                let i = stride &* group &+ lane
                let o = 4 &* stride &* group &+ lane
                let (re0, im0) = (x.re[i], x.im[i])
                let (re1, im1) = (x.re[i &+ jump], x.im[i &+ jump])
                let (re2, im2) = (x.re[i &+ 2 &* jump], x.im[i &+ 2 &* jump])
                let (re3, im3) = (x.re[i &+ 3 &* jump], x.im[i &+ 3 &* jump])
                let (evenRe, evenIm) = (re0 + re2, im0 + im2)
                let (oddRe, oddIm) = (re1 + re3, im1 + im3)
                let (differenceRe, differenceIm) = (re0 - re2, im0 - im2)
                let (crossRe, crossIm) = (im1 - im3, re3 - re1)
                y.re[o] = evenRe + oddRe
                y.im[o] = evenIm + oddIm
                store(differenceRe + crossRe, differenceIm + crossIm, times: w[1], to: y, at: o &+ stride)
                store(evenRe - oddRe, evenIm - oddIm, times: w[2], to: y, at: o &+ 2 &* stride)
                store(differenceRe - crossRe, differenceIm - crossIm, times: w[3], to: y, at: o &+ 3 &* stride)
            }
        }
    }

    private static func radix5(_ pass: Pass, _ twiddles: Twiddles, _ x: Signal, _ y: Signal) {
        let (groups, stride) = (pass.groups, pass.stride)
        let jump = groups &* stride
        let (c1, c2) = (cos(2 * Double.pi / 5), cos(4 * Double.pi / 5))
        let (s1, s2) = (sin(2 * Double.pi / 5), sin(4 * Double.pi / 5))
        for group in 0..<groups {
            let w = twiddles + 5 &* group
            for lane in 0..<stride {
                let i = stride &* group &+ lane
                let o = 5 &* stride &* group &+ lane
                let (re0, im0) = (x.re[i], x.im[i])
                let (re1, im1) = (x.re[i &+ jump], x.im[i &+ jump])
                let (re2, im2) = (x.re[i &+ 2 &* jump], x.im[i &+ 2 &* jump])
                let (re3, im3) = (x.re[i &+ 3 &* jump], x.im[i &+ 3 &* jump])
                let (re4, im4) = (x.re[i &+ 4 &* jump], x.im[i &+ 4 &* jump])
                let (sum1Re, sum1Im, sum2Re, sum2Im) = (re1 + re4, im1 + im4, re2 + re3, im2 + im3)
                let (turn1Re, turn1Im) = (im1 - im4, re4 - re1)
                let (turn2Re, turn2Im) = (im2 - im3, re3 - re2)
                let (a1Re, a1Im) = (re0 + sum1Re * c1 + sum2Re * c2, im0 + sum1Im * c1 + sum2Im * c2)
                let (a2Re, a2Im) = (re0 + sum1Re * c2 + sum2Re * c1, im0 + sum1Im * c2 + sum2Im * c1)
                let (b1Re, b1Im) = (turn1Re * s1 + turn2Re * s2, turn1Im * s1 + turn2Im * s2)
                let (b2Re, b2Im) = (turn1Re * s2 - turn2Re * s1, turn1Im * s2 - turn2Im * s1)
                y.re[o] = re0 + sum1Re + sum2Re
                y.im[o] = im0 + sum1Im + sum2Im
                store(a1Re + b1Re, a1Im + b1Im, times: w[1], to: y, at: o &+ stride)
                store(a2Re + b2Re, a2Im + b2Im, times: w[2], to: y, at: o &+ 2 &* stride)
                store(a2Re - b2Re, a2Im - b2Im, times: w[3], to: y, at: o &+ 3 &* stride)
                store(a1Re - b1Re, a1Im - b1Im, times: w[4], to: y, at: o &+ 4 &* stride)
            }
        }
    }

    private static func radixAny(_ pass: Pass, _ twiddles: Twiddles, _ x: Signal, _ y: Signal) {
        let (radix, groups, stride) = (pass.radix, pass.groups, pass.stride)
        let jump = groups &* stride
        let roots = pass.roots.elements
        for group in 0..<groups {
            for lane in 0..<stride {
                let i = stride &* group &+ lane
                let o = radix &* stride &* group &+ lane
                for k in 0..<radix {
                    var (re, im) = (Lanes(), Lanes())
                    var power = 0
                    for j in 0..<radix {
                        let root = roots[power]
                        let (inRe, inIm) = (x.re[i &+ j &* jump], x.im[i &+ j &* jump])
                        re += inRe * root.re - inIm * root.im
                        im += inRe * root.im + inIm * root.re
                        power &+= k
                        if power >= radix { power &-= radix }
                    }
                    store(re, im, times: twiddles[radix &* group &+ k], to: y, at: o &+ k &* stride)
                }
            }
        }
    }
}
