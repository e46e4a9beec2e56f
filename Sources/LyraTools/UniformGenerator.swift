import LyraBase

/// Numbers uniform in −1..<1 that follow from a seed and a tensor's name (SplitMix64), so that a tensor's initial
/// numbers do not depend on which tensors are made before it.
struct UniformGenerator {
    private var generator: SplitMix64

    init(seed: UInt64, name: String) {
        // FNV-1a's step over the bytes of the name.
        generator = SplitMix64(
            seed: name.utf8.reduce(seed ^ 0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 })
    }

    mutating func next() -> Float {
        // The upper 25 bits as a whole number in −2²⁴..<2²⁴, which a float holds.
        Float(Int32(truncatingIfNeeded: generator.next() >> 39) - (1 << 24)) * 0x1p-24
    }
}
