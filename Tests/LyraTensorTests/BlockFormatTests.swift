import CKernels
import Foundation
import Testing

/// GGUF's quantization blocks, against the package gguf (Fixtures/blocks/make_blocks.py).
@Suite struct BlockFormatTests {
    static let types: [(name: String, type: lk_type)] = [
        ("q8_0", LK_Q8_0), ("q4_0", LK_Q4_0), ("q4_k", LK_Q4_K), ("q6_k", LK_Q6_K),
    ]

    private func fixture(_ name: String) throws -> [UInt8] {
        let folder = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return try [UInt8](Data(contentsOf: folder.appending(path: "Fixtures/blocks/\(name)")))
    }

    private func floats(_ name: String) throws -> [Float] {
        try fixture(name).withUnsafeBytes { bytes in
            (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: 4 * $0, as: Float.self) }
        }
    }

    private func quantized(_ values: [Float], _ type: lk_type) -> [UInt8] {
        var blocks = [UInt8](repeating: 0, count: values.count / lk_block_elements(type) * lk_block_bytes(type))
        lk_quantize(&blocks, type, values, values.count)
        return blocks
    }

    private func dequantized(_ blocks: [UInt8], _ type: lk_type) -> [Float] {
        let count = blocks.count / lk_block_bytes(type) * lk_block_elements(type)
        var values = [Float](repeating: 77, count: count)
        // At an odd address, as a file can have it.
        ([0] + blocks).withUnsafeBytes { bytes in
            if let base = bytes.baseAddress { lk_dequantize(&values, base + 1, type, count) }
        }
        return values
    }

    @Test(arguments: types.prefix(2)) func quantizingEqualsGGUFPyBitForBit(_ name: String, _ type: lk_type) throws {
        #expect(try quantized(floats("values.f32"), type) == fixture("\(name).bin"))
    }

    @Test(arguments: types) func dequantizingEqualsGGUFPyBitForBit(_ name: String, _ type: lk_type) throws {
        let (got, want) = (dequantized(try fixture("\(name).bin"), type), try floats("\(name).f32"))
        try #require(got.count == want.count)
        let wrong = zip(got, want).filter { $0.bitPattern != $1.bitPattern && !($0.isNaN && $1.isNaN) }
        #expect(wrong.isEmpty, "\(wrong.count) of \(got.count) differ, the first: \(String(describing: wrong.first))")
    }

    /// The error of a uniform quantizer of step s is s / √12. The largest of 32 normal deviates is about 2.4 standard
    /// deviations. A searched scale must have a smaller error than one that the largest value determines.
    @Test func searchedScalesFitBetterThanTheLargestValues() {
        var sequence = Sequence(5)
        // Sums of four uniform numbers are close to normal.
        let values = (0..<64 * 256).map { _ in (0..<4).reduce(Float(0)) { sum, _ in sum + sequence.float() } }
        func error(_ type: lk_type) -> Double {
            let back = dequantized(quantized(values, type), type)
            let squares = zip(values, back).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
            return (squares / values.reduce(0.0) { $0 + Double($1 * $1) }).squareRoot()
        }
        // A step of range / 15, divided by √12: 4.4 / 15 / 3.46 = 0.085 deviations.
        #expect(error(LK_Q4_K) < 0.075 && error(LK_Q4_K) < error(LK_Q4_0))
        // 2 · 2 / 63 / 3.46 = 0.018.
        #expect(error(LK_Q6_K) < 0.018)
        #expect(error(LK_Q8_0) < 0.006)
    }

    /// Values that a k-quantization can represent are kept.
    @Test(arguments: [LK_Q4_K, LK_Q6_K]) func quantizingAgainKeepsTheValues(_ type: lk_type) {
        let step: Float = 0x1p-6
        // Every group of 16 has the lowest value, which determines the step.
        let whole = (0..<256).map { i -> Int in
            type == LK_Q4_K ? (i * 7) % 16 - 5 : i % 16 == 0 ? -32 : (i * 5) % 64 - 32
        }
        let values = whole.map { Float($0) * step }
        let back = dequantized(quantized(values, type), type)
        #expect(zip(values, back).allSatisfy { abs($0 - $1) < step / 4 })
    }

    /// A value that no format holds affects only its own block.
    @Test(arguments: types) func nonFiniteValuesAffectOnlyTheirBlock(_ name: String, _ type: lk_type) {
        let elements = lk_block_elements(type), bytes = lk_block_bytes(type)
        let usual = [Float](repeating: 0.5, count: 3 * elements)
        let want = quantized(usual, type)
        for bad in notNumbers + [.infinity, -.infinity, .leastNonzeroMagnitude] {
            for place in [0, 3, elements - 1] {
                var values = usual
                values[elements + place] = bad
                let got = quantized(values, type), back = dequantized(got, type)
                #expect(got[..<bytes] == want[..<bytes] && got[(2 * bytes)...] == want[(2 * bytes)...], "\(bad)")
                #expect(back[..<elements].allSatisfy { abs($0 - 0.5) < 0.02 }, "\(bad)")
            }
        }
        #expect(dequantized(quantized([Float](repeating: 0, count: 256), type), type).allSatisfy { $0 == 0 })
    }

    /// The largest value determines the scale of Q8_0 and Q4_0. NaN is ignored there, and becomes 0.
    @Test(arguments: notNumbers) func nanBecomesZero(_ bad: Float) {
        var values = [Float](repeating: 0.5, count: 32)
        values[3] = bad
        #expect(quantized(values, LK_Q8_0) == [0x08, 0x1c] + (0..<32).map { $0 == 3 ? 0 : 127 })
        // 0.5 / -8 is the scale of Q4_0, and 0.5 its -8.
        let four = dequantized(quantized(values, LK_Q4_0), LK_Q4_0)
        #expect(four.enumerated().allSatisfy { $0 == 3 || $1 == 0.5 } && four[3].isFinite)
    }

    @Test func halvesAreRoundedToNearestEven() {
        var values = (0..<1 << 16).map { Float(Float16(bitPattern: UInt16($0))) }
        // In the middle between two halves, just beside it, and beyond the range.
        values += (0..<UInt16(0x7c00)).flatMap { pattern -> [Float] in
            let (low, high) = (Float(Float16(bitPattern: pattern)), Float(Float16(bitPattern: pattern + 1)))
            guard high.isFinite else { return [65519.996, 65520, 1e30] }
            let middle = (low + high) / 2
            return [middle, middle.nextUp, -middle.nextDown]
        }
        var halves = [UInt16](repeating: 0, count: values.count)
        lk_quantize(&halves, LK_F16, values, values.count)
        let wrong = zip(values, halves).filter { value, half in
            value.isNaN ? !Float16(bitPattern: half).isNaN : Float16(value).bitPattern != half
        }
        #expect(wrong.isEmpty, "\(String(describing: wrong.first))")
        lk_quantize(&halves, LK_BF16, values, values.count)
        for (value, half) in zip(values, halves) {
            let got = Float(bitPattern: UInt32(half) << 16)
            let rest = value.bitPattern & 0xffff
            let up: UInt32 = rest > 0x8000 || (rest == 0x8000 && value.bitPattern & 0x10000 != 0) ? 1 : 0
            let want = Float(bitPattern: (value.bitPattern >> 16 + up) << 16)
            if value.isNaN ? !got.isNaN : got != want { Issue.record("\(value) became \(got), not \(want)") }
        }
    }
}
