import CKernels
import TestSupport
import Testing

/// Products with packed weights against their definition in double precision, on every instruction set at hand but
/// tiles.
@Suite(.serialized) final class PackedLinearTests {
    /// Sums of k products in float differ from sums in double by about √k · 6e-8 of the largest. With a 16-bit mantissa
    /// each product is off by up to 8e-6, and a sum can be smaller than its products.
    static func tolerance(_ type: lk_type) -> Double { type == LK_BF16 ? 2e-5 : 2e-6 }
    private static let instructionSets: Int = {
        var count = 0
        onEachISA { _ in count += 1 }
        return count
    }()
    static let types = [LK_BF16, LK_Q8_0, LK_Q4_0, LK_Q4_K, LK_Q6_K]

    /// On tiles, x is rounded to BF16 for every type: Tests/c/products.c.
    init() { withoutTiles() }
    deinit { _ = lk_limit_isa(usualISA()) }

    /// A packed matrix with its numbers, and x as the kernels round it.
    struct Case {
        let type: lk_type
        let m: Int, n: Int, k: Int
        let x: [Float], w: [Float], bias: [Float], want: [Double]
        let packed: PackedMemory

        init(_ type: lk_type, m: Int, n: Int, blocks: Int) {
            let k = type == LK_BF16 ? blocks * 32 + 1 : blocks * lk_block_elements(type)
            (self.type, self.m, self.n, self.k) = (type, m, n, k)
            var sequence = Sequence(m * 31 + n * 7 + blocks)
            x = sequence.floats(m * k)
            bias = sequence.floats(n)
            var stored = [UInt8](repeating: 0, count: n * k / lk_block_elements(type) * lk_block_bytes(type))
            lk_quantize(&stored, type, sequence.floats(n * k), n * k)
            var wide = [Float](repeating: 0, count: n * k)
            lk_dequantize(&wide, stored, type, n * k)
            packed = PackedMemory(stored, type, n: n, k: k)
            w = wide
            let whole = type == LK_BF16 && m <= LK_FEW_ROWS
            let rounded = whole ? x : Self.rounded(x, type)
            want = (0..<m * n).map { index in
                let (row, column) = (index / n * k, index % n * k)
                return (0..<k).reduce(0.0) { $0 + Double(rounded[row + $1]) * Double(wide[column + $1]) }
            }
        }

        /// BF16, or 8 bits with a scale for every 32.
        private static func rounded(_ x: [Float], _ type: lk_type) -> [Float] {
            if type == LK_BF16 {
                return x.map { value in
                    let bits = value.bitPattern
                    return Float(bitPattern: (bits + 0x7fff + (bits >> 16 & 1)) & 0xffff_0000)
                }
            }
            return stride(from: 0, to: x.count, by: 32).flatMap { start -> [Float] in
                let block = x[start..<start + 32], largest = block.reduce(0) { max($0, abs($1)) }
                let (scale, inverse) = (largest / 127, largest > 0 ? 127 / largest : 0)
                return block.map { ($0 * inverse).rounded(.toNearestOrEven) * scale }
            }
        }

        func product(
            _ rows: Range<Int>? = nil, columns: Range<Int>? = nil, old: [Float] = [], epilogue: lk_epilogue = LK_STORE
        ) -> [Float] {
            let rows = rows ?? 0..<m, columns = columns ?? 0..<n, stride = columns.count + 3
            var y = [Float](repeating: 77, count: rows.count * stride)
            for (index, value) in old.enumerated() {
                y[index / columns.count * stride + index % columns.count] = value
            }
            let some = Array(x[rows.lowerBound * k..<rows.upperBound * k])
            bias.withUnsafeBufferPointer { bias in
                y.withUnsafeMutableBufferPointer { y in
                    let product = lk_packed_product(
                        y: y.baseAddress, ldy: stride,
                        weights: lk_packed_weights(
                            panels: packed.base, type: type, first: columns.lowerBound, n: columns.count),
                        bias: bias.baseAddress.map { $0 + columns.lowerBound }, epilogue: epilogue)
                    #expect(lk_packed_linear([product], 1, some, k, rows.count, k) == LK_OK)
                }
            }
            return rows.indices.flatMap { row -> ArraySlice<Float> in
                let start = (row - rows.lowerBound) * stride
                #expect(y[start + columns.count..<start + stride].allSatisfy { $0 == 77 }, "wrote beside y")
                return y[start..<start + columns.count]
            }
        }
    }

    final class PackedMemory {
        let base: UnsafeMutableRawPointer

        init(_ stored: [UInt8], _ type: lk_type, n: Int, k: Int) {
            base = .allocate(byteCount: lk_packed_bytes(type, n, k), alignment: 64)
            ([0] + stored).withUnsafeBytes { bytes in
                if let start = bytes.baseAddress { lk_pack(base, start + 1, type, n, k) }
            }
        }

        deinit { base.deallocate() }
    }

    private func product(_ w: PackedMemory, _ type: lk_type, n: Int, _ x: [Float], m: Int, k: Int) -> [Float] {
        var y = [Float](repeating: 0, count: m * n)
        let status = y.withUnsafeMutableBufferPointer {
            lk_packed_linear(
                [
                    lk_packed_product(
                        y: $0.baseAddress, ldy: n,
                        weights: lk_packed_weights(panels: w.base, type: type, first: 0, n: n), bias: nil,
                        epilogue: LK_STORE)
                ], 1, x, k, m, k)
        }
        #expect(status == LK_OK)
        return y
    }

    /// Products that share x equal each alone, also with several types and with more products than share tiles.
    @Test(arguments: [1, 7, 40]) func productsOfOneInputEqualEachAlone(_ m: Int) {
        let types = [LK_Q4_K, LK_Q4_K, LK_Q6_K, LK_BF16] + [lk_type](repeating: LK_Q4_0, count: 11)
        var sequence = Sequence(m)
        let x = sequence.floats(m * 256)
        let weights = types.enumerated().map { index, type -> PackedMemory in
            let n = 20 + 7 * index
            var stored = [UInt8](repeating: 0, count: n * 256 / lk_block_elements(type) * lk_block_bytes(type))
            lk_quantize(&stored, type, sequence.floats(n * 256), n * 256)
            return PackedMemory(stored, type, n: n, k: 256)
        }
        let total = types.indices.reduce(0) { $0 + 20 + 7 * $1 }
        onEachISA { isa in
            var y = [Float](repeating: 0, count: m * total)
            y.withUnsafeMutableBufferPointer { y in
                var column = 0
                let products = types.indices.map { index -> lk_packed_product in
                    defer { column += 20 + 7 * index }
                    return lk_packed_product(
                        y: y.baseAddress.map { $0 + column }, ldy: total,
                        weights: lk_packed_weights(
                            panels: weights[index].base, type: types[index], first: 0, n: 20 + 7 * index),
                        bias: nil, epilogue: LK_STORE)
                }
                #expect(lk_packed_linear(products, products.count, x, 256, m, 256) == LK_OK)
            }
            var column = 0
            for index in types.indices {
                let n = 20 + 7 * index, alone = product(weights[index], types[index], n: n, x, m: m, k: 256)
                let beside = (0..<m).flatMap { y[$0 * total + column..<$0 * total + column + n] }
                #expect(alone == beside, "\(isa), product \(index)")
                column += n
            }
        }
    }

    @Test(arguments: types) func everyRowCountEqualsTheDefinition(_ type: lk_type) {
        for m in 1...40 {
            let data = Case(type, m: m, n: 45, blocks: 3)
            let want = data.want.enumerated().map { $1 + Double(data.bias[$0 % data.n]) }
            onEachISA { isa in
                #expect(difference(data.product(), want) < Self.tolerance(type), "\(isa), \(m) rows")
            }
        }
    }

    @Test(arguments: types) func everyColumnCountEqualsTheDefinition(_ type: lk_type) {
        for (n, blocks) in [
            (1, 1), (2, 2), (15, 1), (16, 1), (17, 1), (31, 5), (32, 1), (33, 1), (64, 1), (97, 2), (700, 1),
        ] {
            for m in [1, 7] {
                let data = Case(type, m: m, n: n, blocks: blocks)
                var sequence = Sequence(n)
                let old = sequence.floats(m * n), sums = data.want.enumerated().map { $1 + Double(data.bias[$0 % n]) }
                for (epilogue, formula) in epilogues {
                    let want = zip(sums, old).map { formula($0, Double($1)) }
                    onEachISA { isa in
                        let got = data.product(old: old, epilogue: epilogue)
                        #expect(
                            difference(got, want, of: sums) < Self.tolerance(type),
                            "\(isa), \(n) columns, epilogue \(epilogue.rawValue)")
                    }
                }
            }
        }
    }

    /// More rows than are prepared as tiles at a time, and more panels than one task takes.
    @Test(arguments: types) func manyRowsEqualTheDefinition(_ type: lk_type) {
        let data = Case(type, m: 780, n: 70, blocks: 1)
        let want = data.want.enumerated().map { $1 + Double(data.bias[$0 % data.n]) }
        #expect(difference(data.product(), want) < Self.tolerance(type))
    }

    /// Longer panels than vectors that share lines take in turns.
    @Test(arguments: [LK_Q8_0, LK_Q4_0]) func longRowsEqualTheDefinition(_ type: lk_type) {
        for m in [1, 2, 7] {
            let data = Case(type, m: m, n: 33, blocks: 61)
            let want = data.want.enumerated().map { $1 + Double(data.bias[$0 % data.n]) }
            onEachISA { isa in
                #expect(difference(data.product(), want) < Self.tolerance(type), "\(isa), \(m) rows")
            }
        }
    }

    @Test(arguments: types) func aRangeOfColumnsEqualsTheWhole(_ type: lk_type) {
        let data = Case(type, m: 9, n: 130, blocks: 2)
        onEachISA { isa in
            let whole = data.product()
            for columns in [0..<130, 5..<6, 31..<33, 32..<64, 40..<130, 129..<130, 3..<100] {
                let want = (0..<9).flatMap { row in
                    whole[row * 130 + columns.lowerBound..<row * 130 + columns.upperBound]
                }
                #expect(data.product(columns: columns) == want, "\(isa), columns \(columns)")
            }
        }
    }

    /// A conversation gives the same numbers however it is divided into chunks, of at least 7 rows with BF16.
    @Test(arguments: types) func aRowDoesNotDependOnTheOthers(_ type: lk_type) {
        let data = Case(type, m: 31, n: 40, blocks: 3)
        onEachISA { isa in
            let together = data.product()
            #expect([0..<13, 13..<20, 20..<31].flatMap { data.product($0) } == together, "\(isa)")
            guard type != LK_BF16 else { return }
            #expect((0..<31).flatMap { data.product($0..<$0 + 1) } == together, "\(isa)")
            #expect(data.product(0..<28) + data.product(28..<31) == together, "\(isa)")
        }
    }

    /// Also if only a few rows remain after the full tiles.
    @Test func theLastRowsAreRoundedLikeTheOthers() {
        for m in [769, 774, 1538] {
            let data = Case(LK_BF16, m: m, n: 33, blocks: 1)
            onEachISA { isa in
                let halves = data.product(0..<m / 2) + data.product(m / 2..<m)
                #expect(data.product() == halves, "\(isa), \(m) rows")
            }
        }
    }

    @Test(arguments: types) func resultsDoNotDependOnTheNumberOfThreads(_ type: lk_type) {
        let usual = lk_threads()
        defer { lk_set_threads(usual) }
        for m in [1, 20] {
            let data = Case(type, m: m, n: 1000, blocks: 2)
            let results = [Int32(1), 2, 5].map { threads in
                lk_set_threads(threads)
                return data.product()
            }
            #expect(results[0] == results[1] && results[0] == results[2])
        }
    }

    /// Quantization blocks are summed in integers, so instruction sets differ only in the last bits of a float.
    @Test(.enabled(if: instructionSets > 1, "this processor has only one"), arguments: types)
    func instructionSetsAgree(_ type: lk_type) {
        let data = Case(type, m: 7, n: 64, blocks: 1)
        var all: [[Float]] = []
        onEachISA { _ in all.append(data.product()) }
        #expect(all.count > 1)
        for other in all.dropFirst() { #expect(difference(other, all[0].map(Double.init)) < 3e-7) }
    }

    /// Weights and x of the largest magnitude: sums of bytes do not saturate.
    @Test(arguments: [(Int8(-128), Float(-1)), (-128, 1), (127, -1), (127, 1)])
    func theLargestNumbersDoNotOverflow(_ weight: Int8, _ x: Float) {
        let k = 64, one: [UInt8] = [0x00, 0x3c] + [UInt8](repeating: UInt8(bitPattern: weight), count: 32)
        let packed = PackedMemory((0..<2 * 33).flatMap { _ in one }, LK_Q8_0, n: 33, k: k)
        onEachISA { isa in
            let y = product(packed, LK_Q8_0, n: 33, [Float](repeating: x, count: k), m: 1, k: k)
            #expect(difference(y, y.map { _ in Double(weight) * Double(x) * 64 }) < 1e-6, "\(isa)")
        }
    }

    /// All 4-bit values are 15 and all 6-bit values 63, so that sums in 16 bits reach their maximum.
    @Test(arguments: [
        (LK_Q4_0, [0x00, 0x3C] + [UInt8](repeating: 0xFF, count: 16), 7.0),
        (
            LK_Q4_K,
            [0x00, 0x3C, 0, 0, 1, 1, 1, 1, 0, 0, 0, 0, 1, 1, 1, 1] + [UInt8](repeating: 0xFF, count: 128), 15.0
        ),
        (
            LK_Q6_K,
            [UInt8](repeating: 0xFF, count: 192) + [UInt8](repeating: 1, count: 16) + [0x00, 0x3C], 31.0
        ),
    ])
    func theLargestValuesOf4And6BitsDoNotOverflow(_ type: lk_type, _ block: [UInt8], _ weight: Double) {
        let k = 256, n = 33
        let packed = PackedMemory(
            (0..<n * k / lk_block_elements(type)).flatMap { _ in block }, type, n: n, k: k)
        for (x, m) in [(Float(1), 1), (-1, 1), (1, 2), (-1, 6), (1, 7)] {
            onEachISA { isa in
                let y = product(packed, type, n: n, [Float](repeating: x, count: m * k), m: m, k: k)
                #expect(difference(y, y.map { _ in weight * Double(x) * Double(k) }) < 1e-6, "\(isa), \(m) rows")
            }
        }
    }

    @Test(arguments: types) func nonFiniteRowsAffectOnlyThemselves(_ type: lk_type) {
        let data = Case(type, m: 8, n: 40, blocks: 2)
        for bad in notNumbers + [.infinity, -.infinity] {
            var x = data.x
            x[3 * data.k + 5] = bad
            onEachISA { isa in
                let y = product(data.packed, type, n: 40, x, m: 8, k: data.k)
                #expect(y[3 * 40..<4 * 40].allSatisfy { !$0.isFinite }, "\(isa), \(bad)")
                #expect(y[..<(3 * 40)].allSatisfy(\.isFinite) && y[(4 * 40)...].allSatisfy(\.isFinite), "\(isa)")
            }
        }
    }

    @Test(arguments: types) func unpackedRowsEqualThePackedOnes(_ type: lk_type) {
        let data = Case(type, m: 1, n: 70, blocks: 3)
        for row in 0..<70 {
            var got = [Float](repeating: 77, count: data.k + 1)
            lk_unpack_row(&got, data.packed.base, type, data.k, row)
            #expect(got == Array(data.w[row * data.k..<(row + 1) * data.k]) + [77])
        }
    }
}
