import Glibc

/// A small generator of random numbers whose whole state is one number (Steele, Lea and Flood, 2014). The numbers
/// follow from the seed, on every machine. A copy, or a generator whose seed is a saved state, continues the sequence.
public struct SplitMix64: RandomNumberGenerator, Sendable, Equatable {
    public private(set) var state: UInt64

    /// - Parameter seed: any number, or the `state` of a generator to continue
    public init(seed: UInt64) { state = seed }

    public mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Uniform in 0..<1.
    public mutating func nextUnit() -> Double { Double(next() >> 11) * 0x1p-53 }

    /// Normally distributed, with mean 0 and deviation 1 (Box and Muller, 1958). Takes two numbers of the sequence.
    public mutating func nextNormal() -> Double {
        let radius = (-2 * log(1 - nextUnit())).squareRoot()
        return radius * cos(2 * .pi * nextUnit())
    }

    /// Shuffles the elements; every order is equally likely (Fisher and Yates, as Durstenfeld, 1964, has it).
    public mutating func shuffle(_ elements: inout some MutableCollection & RandomAccessCollection) {
        for remaining in stride(from: elements.count, to: 1, by: -1) {
            let (last, chosen) = (remaining - 1, Int(next(below: UInt64(remaining))))
            elements.swapAt(
                elements.index(elements.startIndex, offsetBy: last),
                elements.index(elements.startIndex, offsetBy: chosen))
        }
    }

    /// Uniform in 0..<bound (Lemire, arXiv 1805.10941).
    ///
    /// - Parameter bound: at least 1; 0 gives 0
    public mutating func next(below bound: UInt64) -> UInt64 {
        var product = next().multipliedFullWidth(by: bound)
        if product.low < bound {
            let least = (0 &- bound) % max(bound, 1)
            while product.low < least { product = next().multipliedFullWidth(by: bound) }
        }
        return product.high
    }
}
