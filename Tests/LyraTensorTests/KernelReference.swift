import CKernels
import Testing

/// Runs `body` once for each instruction set that this processor has, and goes back to the usual one.
func onEachISA(_ body: (String) throws -> Void) rethrows {
    let usual = lk_current_isa()
    defer { _ = lk_force_isa(usual) }
    for isa in [LK_ISA_GENERIC, LK_ISA_AVX2, LK_ISA_AVX512, LK_ISA_AVX512VNNI, LK_ISA_AVX512BF16]
    where lk_force_isa(isa) != 0 {
        try body(String(cString: lk_isa_name(isa)))
    }
}

/// Numbers of a fixed sequence in -1…1.
struct Sequence {
    private var state: UInt64

    init(_ seed: Int) { state = UInt64(truncatingIfNeeded: seed) }

    mutating func float() -> Float {
        state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
        return Float(Int32(truncatingIfNeeded: state >> 32)) * Float(0x1p-31)
    }

    mutating func floats(_ count: Int) -> [Float] { (0..<count).map { _ in float() } }
}

/// The largest difference to a reference in double precision, relative to the largest of it.
func difference(_ got: [Float], _ want: [Double]) -> Double {
    guard got.count == want.count else { return .infinity }
    let scale = want.reduce(1e-30) { max($0, abs($1)) }
    return zip(got, want).reduce(0) { worst, pair in
        let distance = abs(Double(pair.0) - pair.1)
        return distance.isNaN ? .infinity : max(worst, distance)
    } / scale
}

/// Float to BF16 by cutting off, which is exact for numbers that were BF16 before.
func bfloat16(_ values: [Float]) -> [UInt16] { values.map { UInt16($0.bitPattern >> 16) } }
