import LyraBase

/// Numbers uniform in −1..<1 that follow from a seed and a tensor's name (SplitMix64), so that a tensor's initial
/// numbers do not depend on which tensors are made before it.
struct UniformGenerator {
    private var generator: SplitMix64

    init(seed: UInt64, name: String) {
        generator = SplitMix64(seed: stableHash(name, seed: seed))
    }

    mutating func next() -> Float {
        // The upper 25 bits as a whole number in −2²⁴..<2²⁴, which a float holds.
        Float(Int32(truncatingIfNeeded: generator.next() >> 39) - (1 << 24)) * 0x1p-24
    }
}
