import CKernels
import TestSupport
import Testing

/// Matrix products against the definition in double precision, on every instruction set of this processor.
@Suite(.serialized) struct LinearTests {
    /// Sums of k products in float differ from sums in double by about √k · 6e-8 of the largest.
    static let tolerance = 2e-6

    struct Shape: CustomTestStringConvertible, Sendable {
        let m: Int, k: Int, n: Int
        var testDescription: String { "[\(m), \(k)] · [\(n), \(k)]ᵀ" }
    }

    /// Few and many rows; depths and widths around the vector sizes, and beyond one tile.
    static let shapes: [Shape] =
        (1...70).map { Shape(m: $0, k: 65, n: 19) }
        + [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 33, 100].map { Shape(m: 4, k: $0, n: 9) }
        + [1, 2, 3, 4, 5, 8, 63, 64, 65, 129].map { Shape(m: 1, k: 33, n: $0) }
        + [
            Shape(m: 14, k: 1030, n: 260), Shape(m: 70, k: 2050, n: 7), Shape(m: 13, k: 5, n: 513),
            Shape(m: 1, k: 1500, n: 300),
        ]

    private struct Case {
        let x: [Float], w: [Float], bias: [Float], old: [Float], want: [Double]

        init(_ shape: Shape) {
            var sequence = Sequence(shape.m * 31 + shape.k * 7 + shape.n)
            x = sequence.floats(shape.m * shape.k)
            // Seven bits and a sign, which every type can hold.
            w = sequence.floats(shape.n * shape.k).map { ($0 * 127).rounded() / 128 }
            bias = sequence.floats(shape.n)
            old = sequence.floats(shape.m * shape.n)
            let (x, w) = (x, w)
            want = (0..<shape.m * shape.n).map { index in
                let (row, column) = (index / shape.n, index % shape.n)
                return (0..<shape.k).reduce(0.0) {
                    $0 + Double(x[row * shape.k + $1]) * Double(w[column * shape.k + $1])
                }
            }
        }
    }

    private func product(
        _ shape: Shape, _ data: Case, _ w: UnsafeRawPointer, _ type: lk_type, _ epilogue: lk_epilogue = LK_STORE
    ) -> [Float] {
        let stride = shape.n + 3
        var y = [Float](repeating: 77, count: shape.m * stride)
        for row in 0..<shape.m {
            for column in 0..<shape.n { y[row * stride + column] = data.old[row * shape.n + column] }
        }
        let status = lk_linear(
            &y, stride, data.x, shape.k, shape.m, shape.k, w, type, shape.n, data.bias, epilogue)
        #expect(status == LK_OK)
        for row in 0..<shape.m { #expect(y[row * stride + shape.n..<(row + 1) * stride].allSatisfy { $0 == 77 }) }
        return (0..<shape.m).flatMap { y[$0 * stride..<$0 * stride + shape.n] }
    }

    @Test(arguments: shapes) func everyTypeEqualsTheDefinition(_ shape: Shape) {
        let data = Case(shape)
        let biased = data.want.enumerated().map { $1 + Double(data.bias[$0 % shape.n]) }
        let wanted = epilogues.map { epilogue, formula in
            (epilogue, zip(biased, data.old).map { formula($0, Double($1)) })
        }
        let narrow = bfloat16(data.w)
        onEachISA(tiles: true) { isa in
            func check(_ w: UnsafeRawPointer, _ type: lk_type) {
                for (epilogue, want) in wanted {
                    let got = product(shape, data, w, type, epilogue)
                    let distance = difference(got, want, of: biased)
                    #expect(distance < Self.tolerance, "\(isa), epilogue \(epilogue.rawValue)")
                }
            }
            data.w.withUnsafeBytes { if let base = $0.baseAddress { check(base, LK_F32) } }
            // In files, weights can be at any address.
            var shifted = [UInt8](repeating: 0, count: narrow.count * 2 + 1)
            narrow.withUnsafeBytes { for (index, byte) in $0.enumerated() { shifted[index + 1] = byte } }
            shifted.withUnsafeBytes { if let base = $0.baseAddress { check(base + 1, LK_BF16) } }
            let half = data.w.map { Float16($0) }
            half.withUnsafeBytes { if let base = $0.baseAddress { check(base, LK_F16) } }
        }
    }

    /// Few rows, and many rows over several tiles in depth and columns.
    @Test(arguments: [Shape(m: 5, k: 37, n: 70), Shape(m: 40, k: 1100, n: 300)])
    func rowsMayHaveGapsAndWeightsAnyAddress(_ shape: Shape) {
        let data = Case(shape), stride = shape.k + 5
        // Eighths are exact in every type.
        let w = data.w.map { ($0 * 8).rounded() / 8 }
        var x = [Float](repeating: .nan, count: shape.m * stride)
        for row in 0..<shape.m {
            for column in 0..<shape.k { x[row * stride + column] = data.x[row * shape.k + column] }
        }
        let want = (0..<shape.m * shape.n).map { index in
            let (row, column) = (index / shape.n, index % shape.n)
            return (0..<shape.k).reduce(Double(data.bias[column])) {
                $0 + Double(data.x[row * shape.k + $1]) * Double(w[column * shape.k + $1])
            }
        }
        let stored: [(lk_type, [UInt8])] = [
            (LK_F32, w.withUnsafeBytes { Array($0) }), (LK_F16, w.map { Float16($0) }.withUnsafeBytes { Array($0) }),
            (LK_BF16, bfloat16(w).withUnsafeBytes { Array($0) }),
        ]
        onEachISA(tiles: true) { isa in
            for (type, bytes) in stored {
                for shift in 0..<4 {
                    let moved = [UInt8](repeating: 255, count: shift) + bytes
                    var y = [Float](repeating: 77, count: shape.m * shape.n)
                    let status = moved.withUnsafeBytes {
                        lk_linear(
                            &y, shape.n, x, stride, shape.m, shape.k, $0.baseAddress.map { $0 + shift }, type, shape.n,
                            data.bias, LK_STORE)
                    }
                    #expect(status == LK_OK)
                    let what = "\(isa), type \(type.rawValue), \(shift) bytes off"
                    #expect(difference(y, want) < Self.tolerance, "\(what)")
                }
            }
        }
    }

    @Test func resultsDoNotDependOnTheNumberOfThreads() {
        let usual = lk_threads()
        defer { lk_set_threads(usual) }
        for shape in [Shape(m: 1, k: 300, n: 700), Shape(m: 40, k: 300, n: 700)] {
            let data = Case(shape)
            let results = [Int32(1), 2, 5].map { threads in
                lk_set_threads(threads)
                return data.w.withUnsafeBytes { w in
                    w.baseAddress.map { product(shape, data, $0, LK_F32) } ?? []
                }
            }
            #expect(results[0] == results[1] && results[0] == results[2])
        }
    }

    @Test(arguments: RowKernelTests.counts) func wideningWritesNoMoreThanItsCount(_ count: Int) {
        var sequence = Sequence(count)
        let values = sequence.floats(count).map { ($0 * 8).rounded() / 8 }
        let stored: [(lk_type, [UInt8])] = [
            (LK_F32, values.withUnsafeBytes { Array($0) }),
            (LK_F16, values.map { Float16($0) }.withUnsafeBytes { Array($0) }),
            (LK_BF16, bfloat16(values).withUnsafeBytes { Array($0) }),
        ]
        onEachISA { isa in
            for (type, bytes) in stored {
                var wide = [Float](repeating: 77, count: count + 1)
                ([0] + bytes).withUnsafeBytes { bytes in
                    if let base = bytes.baseAddress { lk_dequantize(&wide, base + 1, type, count) }
                }
                #expect(wide == values + [77], "\(isa), type \(type.rawValue)")
            }
        }
    }

    @Test func everyHalfIsWidenedExactly() {
        let patterns = (0...UInt16.max).map { $0 }
        onEachISA { isa in
            var wide = [Float](repeating: 0, count: patterns.count)
            lk_dequantize(&wide, patterns, LK_F16, patterns.count)
            for pattern in patterns {
                let (got, want) = (wide[Int(pattern)], Float(Float16(bitPattern: pattern)))
                if got.bitPattern != want.bitPattern && !(got.isNaN && want.isNaN) {
                    Issue.record("\(isa): F16 \(pattern) became \(got), not \(want)")
                }
            }
            lk_dequantize(&wide, patterns, LK_BF16, patterns.count)
            for pattern in patterns where wide[Int(pattern)].bitPattern != UInt32(pattern) << 16 {
                Issue.record("\(isa): BF16 \(pattern) became \(wide[Int(pattern)])")
            }
        }
    }
}
