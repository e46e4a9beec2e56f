import CKernels
import Foundation
import TestSupport
import Testing

@testable import LyraTensor

/// NaN of either sign, with and without a payload.
let notNumbers = [UInt32](arrayLiteral: 0x7fc0_0000, 0x7fc0_0001, 0x7fff_ffff, 0xffff_ffff).map(Float.init(bitPattern:))

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

/// The largest difference from a reference in double precision, relative to the largest of `sums`, or else of `want`.
func difference(_ got: [Float], _ want: [Double], of sums: [Double]? = nil) -> Double {
    guard got.count == want.count else { return .infinity }
    let scale = (sums ?? want).reduce(1e-30) { max($0, abs($1)) }
    return zip(got, want).reduce(0) { worst, pair in
        let distance = abs(Double(pair.0) - pair.1)
        return distance.isNaN ? .infinity : max(worst, distance)
    } / scale
}

/// Every epilogue, as a function of a product and of the previous value of y.
let epilogues: [(lk_epilogue, @Sendable (_ product: Double, _ old: Double) -> Double)] = [
    (LK_STORE, { product, _ in product }), (LK_ACCUMULATE, { product, old in old + product }),
    (LK_GELU, { product, _ in 0.5 * product * (1 + erf(product / 2.0.squareRoot())) }),
    (LK_QUICK_GELU, { product, _ in product / (1 + exp(-1.702 * product)) }),
]

/// Truncates a Float to BF16, which is exact for BF16 numbers.
func bfloat16(_ values: [Float]) -> [UInt16] { values.map { UInt16($0.bitPattern >> 16) } }

extension Tensor {
    /// silu(first half) · second half of every row.
    func siluGated() throws -> Tensor {
        let halves = try split(columns: [columns / 2, columns / 2])
        return try Tensor.siluProduct(gate: halves[0], up: halves[1])
    }
}

/// A matrix that a file stores as `type`.
func storedWeight(_ outputs: Int, _ inputs: Int, as type: ElementType, _ values: [Float]) throws -> Weight {
    let count = outputs * inputs, storage = try FloatStorage(count: count)
    try Tensor([outputs, inputs], values).store(as: type, to: UnsafeMutableRawPointer(storage.base))
    return try Weight(
        StoredTensor(
            name: "w", type: type, shape: [outputs, inputs],
            bytes: UnsafeRawBufferPointer(start: storage.base, count: count / type.blockElements * type.size),
            owner: storage, source: "test"))
}
