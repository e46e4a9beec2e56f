import Foundation
import TestSupport
import Testing

@testable import LyraTensor

/// Floats of 8 bits are converted exactly. Values by hand from the Open Compute Project's OFP8 specification, table 1.
@Suite struct Float8Tests {
    private func tensor(_ type: ElementType, _ codes: [UInt8], _ shape: [Int]) -> StoredTensor {
        StoredTensor(type, shape, codes)
    }

    @Test func codesBecomeTheNumbersOfTheSpecification() throws {
        // 0, the smallest subnormal, the largest, the smallest normal, 1, 448, NaN, and negative ones
        let e4m3 = tensor(.float8E4M3, [0x00, 0x01, 0x07, 0x08, 0x38, 0x7E, 0x7F, 0x80, 0xFE, 0xFF, 0xB9], [11])
        let want: [Float] = [0, 0x1p-9, 0x7p-9, 0x1p-6, 1, 448, .nan, -0.0, -448, .nan, -1.125]
        expectEqual(try e4m3.floats(), want)
        let e5m2 = tensor(.float8E5M2, [0x00, 0x01, 0x03, 0x04, 0x3C, 0x7B, 0x7C, 0x7D, 0x7F, 0x80, 0xFB, 0xFC], [12])
        expectEqual(
            try e5m2.floats(),
            [0, 0x1p-16, 0x3p-16, 0x1p-14, 1, 57344, .infinity, .nan, .nan, -0.0, -57344, -.infinity])
    }

    private func expectEqual(_ got: [Float], _ want: [Float]) {
        #expect(got.count == want.count)
        for (got, want) in zip(got, want) {
            #expect(got.isNaN && want.isNaN || got == want && got.sign == want.sign, "\(got), \(want)")
        }
    }

    @Test func aWeightAndAConversionHaveTheSameNumbers() throws {
        let codes = (0..<256).map { UInt8($0) }
        for type in [ElementType.float8E4M3, .float8E5M2] {
            let stored = tensor(type, codes, [4, 64])
            let all = try stored.floats()
            let weight = try Weight(stored)
            #expect(weight.outputs == 4 && weight.inputs == 64)
            let converted = try FloatStorage(count: 256), scratch = try FloatStorage(count: 256)
            try stored.store(0..<256, as: .float32, to: converted.base, scratch: scratch)
            for row in 0..<4 {
                let floats = [Float](unsafeUninitializedCapacity: 64) { buffer, count in
                    if let base = buffer.baseAddress { weight.copyRows([Int32(row)], to: base) }
                    count = 64
                }
                expectEqual(floats, Array(all[row * 64..<row * 64 + 64]))
            }
            expectEqual((0..<256).map { converted.base[$0] }, all)
        }
    }
}
