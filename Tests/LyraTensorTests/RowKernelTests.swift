import CKernels
import Foundation
import LyraTensor
import TestSupport
import Testing

/// Row-wise functions against their definitions in double precision, on every instruction set of this processor.
@Suite(.serialized) struct RowKernelTests {
    static let counts = [1, 2, 3, 7, 8, 9, 15, 16, 17, 31, 32, 33, 63, 64, 65, 100, 255, 256, 257, 1000]

    /// Applies `kernel` to values of a wide range and compares with `formula`. `tolerance` is absolute.
    private func check(
        _ tolerance: Double, _ kernel: (UnsafeMutablePointer<Float>, Int) -> Void, _ formula: (Double) -> Double
    ) {
        onEachISA { isa in
            for count in Self.counts {
                var sequence = Sequence(count)
                let x = sequence.floats(count).map { $0 * 12 }
                var y = x + [77]
                kernel(&y, count)
                let worst = zip(y, x).reduce(0.0) { max($0, abs(Double($1.0) - formula(Double($1.1)))) }
                #expect(worst < tolerance, "\(isa), \(count) values")
                #expect(y[count] == 77, "\(isa), \(count) values: wrote one too many")
            }
        }
    }

    /// Applies an epilogue to each of y, as to the product of the weights y with 1.
    private func apply(_ epilogue: lk_epilogue, _ y: UnsafeMutablePointer<Float>, _ count: Int) {
        let weights = Array(UnsafeBufferPointer(start: y, count: count))
        #expect(lk_linear(y, count, [1], 1, 1, 1, weights, LK_F32, count, nil, epilogue) == LK_OK)
    }

    @Test func geluIsExact() {
        // erf is good to 3e-7 and is multiplied by up to 6.
        check(2e-6, { apply(LK_GELU, $0, $1) }) { 0.5 * $0 * (1 + erf($0 / 2.0.squareRoot())) }
    }

    @Test func quickGeluIsExact() {
        check(2e-6, { apply(LK_QUICK_GELU, $0, $1) }) { $0 / (1 + exp(-1.702 * $0)) }
    }

    @Test func tanhIsExact() { check(4e-7, { lk_tanh($0, $1) }) { tanh($0) } }

    @Test func smallTanhKeepsItsDigits() {
        onEachISA { isa in
            var values: [Float] = [1e-6, -1e-4, 0.01, 0.149, 0.151, -0.3, 20, -90, 0]
            let want = values.map { tanh(Double($0)) }
            lk_tanh(&values, values.count)
            for (got, want) in zip(values, want) { #expect(abs(Double(got) - want) <= 5e-7 * abs(want), "\(isa)") }
        }
    }

    @Test(arguments: notNumbers) func nanStaysNaN(_ bad: Float) throws {
        try onEachISA { isa in
            for place in [0, 5, 16, 32] {
                var x = [Float](repeating: 0.5, count: 33)
                x[place] = bad
                let kernels: [(String, (UnsafeMutablePointer<Float>, Int) -> Void)] = [
                    ("gelu", { apply(LK_GELU, $0, $1) }), ("quick_gelu", { apply(LK_QUICK_GELU, $0, $1) }),
                    ("tanh", { lk_tanh($0, $1) }),
                    ("leaky_relu", { lk_leaky_relu($0, $1, 0.1) }), ("relu", { lk_leaky_relu($0, $1, 0) }),
                ]
                for (name, kernel) in kernels {
                    var y = x
                    kernel(&y, y.count)
                    for index in y.indices {
                        #expect(y[index].isNaN == (index == place), "\(name), \(isa), value \(index)")
                    }
                }
                let gated = try Tensor([1, 66], x + [Float](repeating: 1, count: 33)).siluGated().values
                for index in gated.indices { #expect(gated[index].isNaN == (index == place), "silu, \(isa)") }
            }
        }
    }

    @Test func leakyReluKeepsAShareOfNegatives() {
        check(1e-6, { lk_leaky_relu($0, $1, 0.1) }) { $0 > 0 ? $0 : 0.1 * $0 }
        check(1e-9, { lk_leaky_relu($0, $1, 0) }) { max($0, 0) }
    }

    @Test func infinityPassesThrough() {
        onEachISA { isa in
            var large: [Float] = [.infinity, -.infinity]
            lk_tanh(&large, 2)
            #expect(large == [1, -1], "\(isa)")
            var positive: [Float] = [.infinity]
            lk_leaky_relu(&positive, 1, 0)
            #expect(positive == [.infinity], "\(isa)")
        }
    }

    @Test func scaleMultiplies() { check(1e-5, { lk_scale($0, $1, -2.5) }) { -2.5 * $0 } }

    @Test func addAdds() {
        onEachISA { isa in
            for count in Self.counts {
                var sequence = Sequence(count)
                let (x, old) = (sequence.floats(count), sequence.floats(count))
                var y = old
                lk_add(&y, x, count)
                #expect(y == zip(old, x).map { $0 + $1 }, "\(isa), \(count) values")
            }
        }
    }

    @Test(arguments: counts) func normsEqualTheirDefinitions(_ columns: Int) throws {
        let rows = 3
        var sequence = Sequence(columns)
        let x = sequence.floats(rows * columns).map { $0 * 3 + 1 }
        let (weight, bias) = (sequence.floats(columns), sequence.floats(columns))
        var rms: [Double] = [], layer: [Double] = []
        for row in 0..<rows {
            let values = x[row * columns..<(row + 1) * columns].map { Double($0) }, n = Double(columns)
            let mean = values.reduce(0, +) / n
            let root = (values.reduce(0) { $0 + $1 * $1 } / n + 1e-6).squareRoot()
            let deviation = (values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / n + 1e-5).squareRoot()
            rms += values.enumerated().map { $1 / root * Double(weight[$0]) }
            layer += values.enumerated().map { ($1 - mean) / deviation * Double(weight[$0]) + Double(bias[$0]) }
        }
        let tensor = try Tensor([rows, columns], x)
        try onEachISA { isa in
            let (weights, biases) = (try Tensor([columns], weight), try Tensor([columns], bias))
            let root = try tensor.rmsNormalized(weight: weights, epsilon: 1e-6)
            let centred = try tensor.layerNormalized(weight: weights, bias: biases, epsilon: 1e-5)
            #expect(difference(root.values, rms) < 1e-6, "\(isa)")
            // With one column the deviation is √ε, by which the rounding error of the mean is divided.
            let layerTolerance = columns < 3 ? 2e-4 : 3e-6
            #expect(difference(centred.values, layer) < layerTolerance, "\(isa)")
        }
    }

    @Test(arguments: counts) func gatedUnitsEqualTheirDefinition(_ columns: Int) throws {
        var sequence = Sequence(columns)
        let x = sequence.floats(2 * 2 * columns).map { $0 * 20 }
        let want = (0..<2 * columns).map { index -> Double in
            let (row, column) = (index / columns, index % columns)
            let gate = Double(x[2 * row * columns + column]), up = Double(x[2 * row * columns + columns + column])
            return gate / (1 + exp(-gate)) * up
        }
        try onEachISA { isa in
            let got = try Tensor([2, 2 * columns], x).siluGated().values
            #expect(difference(got, want) < 1e-6, "\(isa)")
        }
    }

    @Test(arguments: [2, 4, 6, 16, 34, 64, 128]) func rotationTurnsEachPair(_ dim: Int) {
        let rows = 3, heads = 2, stride = heads * dim + 5
        var sequence = Sequence(dim)
        let x = sequence.floats(rows * stride)
        let angles = sequence.floats(rows * dim / 2).map { $0 * 50 }
        onEachISA { isa in
            var y = x
            y.withUnsafeMutableBufferPointer {
                guard let y = $0.baseAddress else { return }
                lk_rope(y, stride, y, stride, angles.map { cosf($0) }, angles.map { sinf($0) }, rows, heads, dim)
            }
            var want = x.map { Double($0) }
            for row in 0..<rows {
                for head in 0..<heads {
                    for pair in 0..<dim / 2 {
                        let at = row * stride + head * dim + pair
                        let (a, b, angle) = (
                            Double(x[at]), Double(x[at + dim / 2]), Double(angles[row * dim / 2 + pair])
                        )
                        want[at] = a * cos(angle) - b * sin(angle)
                        want[at + dim / 2] = b * cos(angle) + a * sin(angle)
                    }
                }
            }
            #expect(difference(y, want) < 1e-6, "\(isa)")
        }
    }

    /// Enough rows to be divided among the threads.
    @Test func aRowIsRotatedAloneAsAmongMany() {
        let rows = 300, heads = 3, dim = 64, stride = heads * dim + 7
        var sequence = Sequence(9)
        let x = sequence.floats(rows * stride)
        let cos = sequence.floats(rows * dim / 2), sin = sequence.floats(rows * dim / 2)
        onEachISA { isa in
            var (together, alone) = ([Float](repeating: 0, count: x.count), x)
            lk_rope(&together, stride, x, stride, cos, sin, rows, heads, dim)
            alone.withUnsafeMutableBufferPointer { alone in
                for row in 0..<rows {
                    let angles = row * dim / 2..<(row + 1) * dim / 2
                    guard let base = alone.baseAddress else { continue }
                    lk_rope(
                        base + row * stride, 0, base + row * stride, 0, Array(cos[angles]), Array(sin[angles]), 1,
                        heads,
                        dim)
                }
            }
            for row in 0..<rows {
                let rotated = row * stride..<row * stride + heads * dim
                #expect(together[rotated] == alone[rotated], "\(isa)")
                #expect(together[rotated.upperBound..<(row + 1) * stride].allSatisfy { $0 == 0 }, "\(isa)")
            }
        }
    }

    @Test func theLargestIsTheFirstOfEqualsAndNeverNaN() {
        #expect(lk_argmax([1, 3, 3, 2], 4) == 1)
        #expect(lk_argmax([.nan, -5, .nan, -4], 4) == 3)
        #expect(lk_argmax([-.infinity, -.infinity], 2) == 0)
        #expect(lk_argmax([.nan], 1) == 0)
    }
}
