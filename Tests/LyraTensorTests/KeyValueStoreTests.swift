import CKernels
import TestSupport
import Testing

/// Numbers become halves and 8-bit codes exactly as defined.
@Suite(.serialized) struct KeyValueStoreTests {
    /// Ties, the ends of the ranges, subnormal numbers, and a hundred thousand patterns of bits.
    private static let numbers: [Float] = {
        var all: [Float] = [
            0, 1, 0x1.01p0, 0x1.03p0, 0x1.0002p0, 0x1.002p0, 0x1.006p0, 65_504, 65_519.996, 65_520, 65_536, 1e5,
            .greatestFiniteMagnitude, 0x1.FEFFFEp127, .infinity, 0x1p-14, 0x1.FFEp-15, 0x1.FFFp-15, 0x1p-24, 0x1p-25,
            0x1.000002p-25, 0x1.8p-24, 0x1p-26, .leastNormalMagnitude, .leastNonzeroMagnitude, 0x1p-146,
        ]
        all += all.map { -$0 }
        var sequence = Sequence(11)
        for _ in 0..<100_000 {
            let number = Float(bitPattern: sequence.float().bitPattern &* 0x9E37_79B1)
            if !number.isNaN { all.append(number) }
        }
        return all + sequence.floats(20_000).map { $0 * 70_000 } + sequence.floats(20_000).map { $0 * 0x1p-13 }
    }()

    private func halves(_ numbers: [Float], _ type: lk_kv_type) -> [UInt16] {
        var page = [UInt16](repeating: 0xABCD, count: numbers.count)
        storeRow(numbers, as: type, in: &page)
        return page
    }

    @Test func halvesAreTheNearestWithTiesToEven() {
        let numbers = Self.numbers
        let (float16, bfloat16) = (numbers.map { Float16($0).bitPattern }, numbers.map(StoredReference.bfloat16))
        onEachISA { isa in
            #expect(halves(numbers, LK_KV_F16) == float16, "\(isa)")
            #expect(halves(numbers, LK_KV_BF16) == bfloat16, "\(isa)")
        }
    }

    @Test func nanStaysNaN() {
        let patterns: [UInt32] = [0x7FC0_0000, 0xFFC0_0000, 0x7F80_0001, 0xFF80_1000, 0x7FFF_FFFF, 0xFFFF_FFFF]
        let numbers = patterns.map { Float(bitPattern: $0) }
        onEachISA { isa in
            for (pattern, half) in zip(patterns, halves(numbers, LK_KV_F16)) {
                #expect(Float16(bitPattern: half).isNaN && half >> 15 == pattern >> 31, "\(isa) \(pattern)")
            }
            for (pattern, half) in zip(patterns, halves(numbers, LK_KV_BF16)) {
                let back = Float(bitPattern: UInt32(half) << 16)
                #expect(back.isNaN && half >> 15 == pattern >> 31, "\(isa) \(pattern)")
            }
        }
    }

    /// For every width, a row is written to its own place only. Magnitudes differ from head to head.
    @Test(arguments: [1, 3, 8, 20, 64, 80, 127]) func codesAreTheNearestOfEachHead(_ dim: Int) {
        let (heads, rows, first, room) = (3, 5, 2, 9)
        var sequence = Sequence(dim)
        var source = sequence.floats(rows * (heads * dim + 4))
        for index in source.indices where index % 7 == 0 { source[index] *= Float(index % 5) * 100 }
        for d in 0..<dim { source[d] = 0 }  // a head of zeros
        for d in 0..<dim { source[dim + d] *= 0x1p-143 }  // one whose scale is a subnormal number
        source[2 * dim] = .infinity
        source[heads * dim + 4 + dim] = .nan
        let untouched = ([Int8](repeating: 99, count: room * heads * dim), [Float](repeating: 99, count: room * heads))
        var (codes, scales) = untouched
        for row in 0..<rows {
            for head in 0..<heads {
                let from = row * (heads * dim + 4) + head * dim
                let want = StoredReference.codes(source[from..<from + dim]), at = head * room + first + row
                codes.replaceSubrange(at * dim..<(at + 1) * dim, with: want.codes)
                scales[at] = want.scale
            }
        }
        onEachISA { isa in
            var (page, factors) = untouched
            page.withUnsafeMutableBytes { page in
                factors.withUnsafeMutableBufferPointer { factors in
                    var layout = lk_kv_mutable_page(
                        data: page.baseAddress, scales: factors.baseAddress, type: LK_KV_Q8, page_rows: room,
                        heads: heads, dim: dim)
                    lk_kv_store(&layout, first, source, heads * dim + 4, dim, rows)
                }
            }
            #expect(page == codes, "\(isa)")
            for (got, want) in zip(factors, scales) {
                #expect(got.bitPattern == want.bitPattern || got.isNaN && want.isNaN, "\(isa)")
            }
        }
    }
}
