import CKernels
import LyraTensor
import Testing

/// Products with packed weights against their definition in double precision, on every instruction set that is here.
@Suite(.serialized) struct PackedLinearTests {
    /// Sums of k products in float differ from those in double by about √k · 6e-8 of the largest.
    static let tolerance = 2e-6
    static let types = [LK_BF16, LK_Q8_0, LK_Q4_0, LK_Q4_K, LK_Q6_K]

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
            lk_widen(&wide, stored, type, n * k)
            packed = PackedMemory(stored, type, n: n, k: k)
            w = wide
            let rounded = Self.rounded(x, type)
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

        func product(_ rows: Range<Int>? = nil, columns: Range<Int>? = nil, old: [Float]? = nil) -> [Float] {
            let rows = rows ?? 0..<m, columns = columns ?? 0..<n, stride = columns.count + 3
            var y = [Float](repeating: 77, count: rows.count * stride)
            for (index, value) in (old ?? []).enumerated() {
                y[index / columns.count * stride + index % columns.count] = value
            }
            let status = lk_packed_linear(
                &y, stride, Array(x[rows.lowerBound * k..<rows.upperBound * k]), k, rows.count, k, packed.base, type,
                columns.lowerBound, columns.count, old == nil ? Array(bias[columns]) : nil, old == nil ? 0 : 1)
            #expect(status == LK_OK)
            return rows.indices.flatMap { row -> ArraySlice<Float> in
                let start = (row - rows.lowerBound) * stride
                #expect(y[start + columns.count..<start + stride].allSatisfy { $0 == 77 }, "written beside y")
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

    @Test(arguments: types) func everyRowCountEqualsTheDefinition(_ type: lk_type) {
        for m in 1...40 {
            let data = Case(type, m: m, n: 45, blocks: 3)
            let want = data.want.enumerated().map { $1 + Double(data.bias[$0 % data.n]) }
            onEachISA { isa in
                #expect(difference(data.product(), want) < Self.tolerance, "\(isa), \(m) rows")
            }
        }
    }

    @Test(arguments: types) func everyColumnCountEqualsTheDefinition(_ type: lk_type) {
        for (n, blocks) in [(1, 1), (2, 2), (15, 1), (16, 1), (17, 1), (31, 5), (32, 1), (33, 1), (64, 1), (97, 2), (700, 1)] {
            for m in [1, 7] {
                let data = Case(type, m: m, n: n, blocks: blocks)
                var sequence = Sequence(n)
                let old = sequence.floats(m * n), want = zip(data.want, old).map { $0 + Double($1) }
                onEachISA { isa in
                    #expect(difference(data.product(old: old), want) < Self.tolerance, "\(isa), \(n) columns")
                }
            }
        }
    }

    /// More rows than are made into tiles at a time, and more panels than one task takes.
    @Test(arguments: types) func manyRowsAreTakenInPieces(_ type: lk_type) {
        let data = Case(type, m: 780, n: 70, blocks: 1)
        let want = data.want.enumerated().map { $1 + Double(data.bias[$0 % data.n]) }
        #expect(difference(data.product(), want) < Self.tolerance)
    }

    @Test(arguments: types) func someColumnsAreThoseOfTheWhole(_ type: lk_type) {
        let data = Case(type, m: 9, n: 130, blocks: 2)
        onEachISA { isa in
            let whole = data.product()
            for columns in [0..<130, 5..<6, 31..<33, 32..<64, 40..<130, 129..<130, 3..<100] {
                let want = (0..<9).flatMap { row in whole[row * 130 + columns.lowerBound..<row * 130 + columns.upperBound] }
                #expect(data.product(columns: columns) == want, "\(isa), columns \(columns)")
            }
        }
    }

    /// A conversation gives the same numbers however it is cut into pieces.
    @Test(arguments: types) func aRowDoesNotDependOnTheOthers(_ type: lk_type) {
        let data = Case(type, m: 31, n: 40, blocks: 3)
        onEachISA { isa in
            let together = data.product()
            #expect((0..<31).flatMap { data.product($0..<$0 + 1) } == together, "\(isa)")
            #expect(data.product(0..<13) + data.product(13..<20) + data.product(20..<31) == together, "\(isa)")
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

    /// Blocks are summed in integers, so instruction sets differ in the last places of a float only.
    @Test(arguments: types) func instructionSetsAgree(_ type: lk_type) {
        let data = Case(type, m: 7, n: 64, blocks: 1)
        var all: [[Float]] = []
        onEachISA { _ in all.append(data.product()) }
        for other in all.dropFirst() { #expect(difference(other, all[0].map(Double.init)) < 3e-7) }
    }

    /// Weights and x of the largest magnitude: sums of bytes do not saturate.
    @Test(arguments: [(Int8(-128), Float(-1)), (-128, 1), (127, -1), (127, 1)])
    func theLargestNumbersDoNotOverflow(_ weight: Int8, _ x: Float) {
        let k = 64, one: [UInt8] = [0x00, 0x3c] + [UInt8](repeating: UInt8(bitPattern: weight), count: 32)
        let packed = PackedMemory((0..<2 * 33).flatMap { _ in one }, LK_Q8_0, n: 33, k: k)
        onEachISA { isa in
            var y = [Float](repeating: 0, count: 33)
            let status = lk_packed_linear(
                &y, 33, [Float](repeating: x, count: k), k, 1, k, packed.base, LK_Q8_0, 0, 33, nil, 0)
            #expect(status == LK_OK && difference(y, y.map { _ in Double(weight) * Double(x) * 64 }) < 1e-6, "\(isa)")
        }
    }

    @Test(arguments: types) func rowsThatAreNotFiniteSpoilThemselvesOnly(_ type: lk_type) {
        let data = Case(type, m: 8, n: 40, blocks: 2)
        for bad in [Float.nan, .infinity, -.infinity] {
            var x = data.x
            x[3 * data.k + 5] = bad
            onEachISA { isa in
                var y = [Float](repeating: 0, count: 8 * 40)
                _ = lk_packed_linear(&y, 40, x, data.k, 8, data.k, data.packed.base, type, 0, 40, nil, 0)
                #expect(y[3 * 40..<4 * 40].allSatisfy { !$0.isFinite }, "\(isa), \(bad)")
                #expect(y[..<(3 * 40)].allSatisfy(\.isFinite) && y[(4 * 40)...].allSatisfy(\.isFinite), "\(isa)")
            }
        }
    }

    @Test(arguments: types) func unpackedRowsAreThoseThatWerePacked(_ type: lk_type) {
        let data = Case(type, m: 1, n: 70, blocks: 3)
        for row in 0..<70 {
            var got = [Float](repeating: 77, count: data.k + 1)
            lk_unpack_row(&got, data.packed.base, type, data.k, row)
            #expect(got == Array(data.w[row * data.k..<(row + 1) * data.k]) + [77])
        }
    }
}
