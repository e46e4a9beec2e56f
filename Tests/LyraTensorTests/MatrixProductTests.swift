import CKernels
import TestSupport
import Testing

@testable import LyraTensor

/// The products of the backward pass, with either factor transposed.
@Suite(.serialized) struct MatrixProductTests {
    private struct Factor {
        let values: [Float]
        let isTransposed: Bool
        let rows: Int
        let columns: Int

        /// [rows, columns], or its transpose, of numbers in -1…1.
        init(_ rows: Int, _ columns: Int, isTransposed: Bool) {
            var numbers = Sequence(rows + 7 * columns)
            (self.rows, self.columns, self.isTransposed) = (rows, columns, isTransposed)
            values = numbers.floats(rows * columns)
        }

        func element(_ row: Int, _ column: Int) -> Float {
            isTransposed ? values[column * rows + row] : values[row * columns + column]
        }

        func kernel(_ base: UnsafePointer<Float>?) -> lk_factor {
            lk_factor(data: base, ld: isTransposed ? rows : columns, transposed: isTransposed ? 1 : 0)
        }
    }

    private static let shapes = [(1, 33, 7), (7, 5, 64), (40, 70, 33), (13, 97, 1), (130, 31, 65)]

    private func forEachCase(_ body: (_ a: Factor, _ b: Factor) throws -> Void) rethrows {
        for (m, n, k) in Self.shapes {
            for (first, second) in [(false, false), (false, true), (true, false), (true, true)] {
                try body(Factor(m, k, isTransposed: first), Factor(k, n, isTransposed: second))
            }
        }
    }

    /// old + a · b in double precision, after `round`.
    private func reference(_ a: Factor, _ b: Factor, adding old: Float, _ round: (Float) -> Float) -> [Double] {
        var result: [Double] = []
        for row in 0..<a.rows {
            for column in 0..<b.columns {
                result.append(
                    (0..<a.columns).reduce(Double(old)) {
                        $0 + Double(round(a.element(row, $1))) * Double(round(b.element($1, column)))
                    })
            }
        }
        return result
    }

    /// To nearest, ties to even.
    private func rounded(_ value: Float) -> Float {
        let bits = value.bitPattern
        return Float(bitPattern: (bits &+ 0x7fff &+ (bits >> 16 & 1)) & 0xffff_0000)
    }

    /// Both factors are rounded to BF16 and sums are floats: the error is that of F32 sums. Up to six rows keep 16 bits
    /// of their mantissa or more, so that the second factor's rounding alone counts.
    @Test func productsInBF16RoundBothFactors() throws {
        try onEachISA(tiles: true) { isa in
            try forEachCase { a, b in
                for isFilled in [false, true] {
                    var got = [Float](repeating: isFilled ? 0.5 : .nan, count: a.rows * b.columns)
                    try a.values.withUnsafeBufferPointer { aBase in
                        try b.values.withUnsafeBufferPointer { bBase in
                            let first = a.kernel(aBase.baseAddress), second = b.kernel(bBase.baseAddress)
                            let memory = try FloatStorage(
                                count: lk_bf16_product_floats(first, a.rows, b.columns, a.columns))
                            let status = lk_bf16_matrix_product(
                                &got, b.columns, first, second, a.rows, b.columns, a.columns, isFilled ? 1 : 0,
                                memory.base)
                            #expect(status == LK_OK)
                            withExtendedLifetime(memory) {}
                        }
                    }
                    let old: Float = isFilled ? 0.5 : 0
                    let isFew = a.rows <= LK_FEW_ROWS
                    let want = reference(a, b, adding: old) { rounded($0) }
                    let tolerance = isFew ? 0.01 : 2e-6
                    #expect(difference(got, want) < tolerance, "\(isa) \(a.rows) \(b.columns) \(a.columns)")
                }
            }
        }
    }

    /// Lyra's own kernels, also where OpenBLAS multiplies: all edges of tiles and slices. Gaps between the rows of the
    /// result stay as they are.
    @Test func ownProductsInFloatsEqualTheDefinition() throws {
        let shapes = Self.shapes + [(11, 15, 255), (12, 32, 256), (13, 33, 257), (25, 290, 530), (3, 16, 0), (1, 1, 1)]
        for (m, n, k) in shapes {
            for (isFirst, isSecond) in [(false, false), (false, true), (true, false), (true, true)] {
                let a = Factor(m, k, isTransposed: isFirst), b = Factor(k, n, isTransposed: isSecond)
                for isFilled in [false, true] {
                    let want = reference(a, b, adding: isFilled ? 0.5 : 0) { $0 }
                    onEachISA { isa in
                        let gap = 3, ld = n + gap
                        var got = [Float](repeating: isFilled ? 0.5 : .nan, count: m * ld)
                        for row in 0..<m { for column in n..<ld { got[row * ld + column] = 7 } }
                        let status = a.values.withUnsafeBufferPointer { aBase in
                            b.values.withUnsafeBufferPointer { bBase in
                                lk_sgemm_own(
                                    &got, ld, a.kernel(aBase.baseAddress), b.kernel(bBase.baseAddress), m, n, k,
                                    isFilled ? 1 : 0)
                            }
                        }
                        #expect(status == LK_OK)
                        let rows = (0..<m).map { got[$0 * ld..<($0 + 1) * ld] }
                        #expect(difference(rows.flatMap { $0.prefix(n) }, want) < 2e-6, "\(isa) \(m) \(n) \(k)")
                        #expect(rows.allSatisfy { $0.suffix(gap).allSatisfy { $0 == 7 } }, "\(isa) \(m) \(n) \(k)")
                    }
                }
            }
        }
    }

    /// OpenBLAS sums in another order at the edges of a product; a product is cut at the same places for any number of
    /// threads, so that every bit is the same.
    @Test func productsDoNotDependOnTheNumberOfThreads() throws {
        let usual = lk_threads()
        defer { lk_set_threads(usual) }
        for (m, n, k) in [(300, 700, 33), (700, 515, 129)] {
            let a = Factor(m, k, isTransposed: true), b = Factor(k, n, isTransposed: false)
            func product(threads: Int32) -> [Float] {
                lk_set_threads(threads)
                var got = [Float](repeating: 0, count: m * n)
                a.values.withUnsafeBufferPointer { aBase in
                    b.values.withUnsafeBufferPointer { bBase in
                        let status = lk_matrix_product(
                            &got, n, a.kernel(aBase.baseAddress), b.kernel(bBase.baseAddress), m, n, k, 0)
                        #expect(status == LK_OK)
                    }
                }
                return got
            }
            let alone = product(threads: 1)
            #expect(difference(alone, reference(a, b, adding: 0) { $0 }) < 2e-6)
            for threads: Int32 in 2...5 { #expect(product(threads: threads) == alone) }
        }
    }
}
