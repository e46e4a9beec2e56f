import CKernels
import TestSupport
import Testing

/// The convolution kernel against the definition of a convolution, in double precision.
@Suite(.serialized) struct ConvolutionTests {
    struct Shape: CustomTestStringConvertible, Sendable {
        var inputs = 8
        var outputs = 8
        var kernel = 3
        var dilation = 1
        var columns = 100
        var testDescription: String { "\(inputs)→\(outputs) ×\(kernel) /\(dilation), \(columns) columns" }
    }

    static let shapes: [Shape] =
        [1, 2, 3, 4, 5, 7, 8, 9, 11, 15, 16, 17, 23, 24, 25, 31, 33, 47, 49, 95, 96, 97, 193].map {
            Shape(inputs: 5, outputs: 6, kernel: 3, dilation: 2, columns: $0)
        } + [1, 3, 4, 13, 16, 24, 48, 64].map { Shape(inputs: 7, outputs: $0, kernel: 7, columns: 61) } + [
            Shape(inputs: 1, outputs: 1, kernel: 1, columns: 1),
            Shape(inputs: 16, outputs: 1, kernel: 7, columns: 1000),
            Shape(inputs: 128, outputs: 128, kernel: 11, dilation: 5, columns: 290),
            Shape(inputs: 64, outputs: 64, kernel: 11, dilation: 3, columns: 1111),
            Shape(inputs: 256, outputs: 36, kernel: 2, columns: 5),
        ]

    /// A signal and weights from a fixed sequence, and the kernel's result.
    struct Case {
        let shape: Shape
        let stride: Int
        let x: [Float]
        let w: [Float]
        let bias: [Float]
        let packed: [Float]
        /// Whether to use the kernel for pairs of BF16 numbers; x and w are then BF16, so that nothing is rounded.
        let inPairs: Bool

        init(_ shape: Shape, inPairs: Bool = false) {
            self.inPairs = inPairs
            var random = SplitMix(state: UInt64(shape.columns * 977 + shape.outputs * 31 + shape.kernel))
            self.shape = shape
            stride = shape.columns + (shape.kernel - 1) * shape.dilation
            func number() -> Float {
                let number = random.float()
                return inPairs ? Float(bitPattern: UInt32(StoredReference.bfloat16(number)) << 16) : number
            }
            x = (0..<shape.inputs * stride).map { _ in number() }
            w = (0..<shape.outputs * shape.inputs * shape.kernel).map { _ in number() }
            bias = (0..<shape.outputs).map { _ in random.float() }
            let count = inPairs ? lk_conv1d_pairs_count : lk_conv1d_packed_count
            var packed = [Float](repeating: .nan, count: count(shape.inputs, shape.outputs, shape.kernel))
            let pack = inPairs ? lk_conv1d_pack_pairs : lk_conv1d_pack
            pack(&packed, w, shape.inputs, shape.outputs, shape.kernel)
            self.packed = packed
        }

        /// Output columns `range`, each row padded with a guard value.
        func convolve(_ range: Range<Int>) -> [Float] {
            var y = [Float](repeating: 77, count: shape.outputs * (range.count + 1))
            let status = x.withUnsafeBufferPointer { x in
                y.withUnsafeMutableBufferPointer { y in
                    var output = lk_conv1d_output()
                    (output.y, output.ldy) = (y.baseAddress, range.count + 1)
                    let convolve = inPairs ? lk_conv1d_pairs_into : lk_conv1d_into
                    return convolve(
                        &output, x.baseAddress! + range.lowerBound, stride, range.count, packed, bias, shape.inputs,
                        shape.outputs, shape.kernel, shape.dilation)
                }
            }
            #expect(status == 0)
            return y
        }

        func reference(_ output: Int, _ column: Int) -> (value: Double, size: Double) {
            var (sum, size) = (Double(bias[output]), abs(Double(bias[output])))
            for input in 0..<shape.inputs {
                for tap in 0..<shape.kernel {
                    let term =
                        Double(w[(output * shape.inputs + input) * shape.kernel + tap])
                        * Double(x[input * stride + column + tap * shape.dilation])
                    sum += term
                    size += abs(term)
                }
            }
            return (sum, size)
        }
    }

    @Test(arguments: shapes, [false, true]) func equalsTheDefinition(_ shape: Shape, _ inPairs: Bool) {
        onEachISA(tiles: inPairs) { isa in
            let one = Case(shape, inPairs: inPairs)
            let y = one.convolve(0..<shape.columns)
            var worst = 0.0
            for output in 0..<shape.outputs {
                for column in 0..<shape.columns {
                    let (value, size) = one.reference(output, column)
                    worst = max(worst, abs(Double(y[output * (shape.columns + 1) + column]) - value) / size)
                }
                #expect(y[output * (shape.columns + 1) + shape.columns] == 77, "wrote past a row with \(isa)")
            }
            // 24-bit products summed in a chain: far below 10⁻⁵ of the sum of magnitudes
            #expect(worst < 1e-5, "\(isa)")
        }
    }

    @Test(arguments: [false, true]) func aRangeOfColumnsEqualsTheWhole(_ inPairs: Bool) {
        for shape in [
            Shape(inputs: 24, outputs: 24, kernel: 7, dilation: 3, columns: 400),
            Shape(inputs: 6, outputs: 1, kernel: 3, columns: 150),
        ] {
            onEachISA(tiles: inPairs) { isa in
                let one = Case(shape, inPairs: inPairs)
                let whole = one.convolve(0..<shape.columns)
                for length in [1, 2, 3, 5, 7, 8, 9, 12, 15, 16, 17, 24, 25, 31, 48, 50, 96, 97, 149] {
                    for start in [0, 1, 13, shape.columns - length] where start + length <= shape.columns {
                        let piece = one.convolve(start..<start + length)
                        for output in 0..<shape.outputs {
                            let there = output * (shape.columns + 1) + start
                            #expect(
                                piece[output * (length + 1)..<output * (length + 1) + length].elementsEqual(
                                    whole[there..<there + length]), "\(length) columns at \(start) on \(isa)")
                        }
                    }
                }
            }
        }
    }

    @Test(arguments: [false, true]) func threadsDoNotChangeTheResult(_ inPairs: Bool) {
        let usual = lk_threads()
        defer { lk_set_threads(usual) }
        let one = Case(Shape(inputs: 64, outputs: 64, kernel: 11, dilation: 5, columns: 1999), inPairs: inPairs)
        lk_set_threads(1)
        let alone = one.convolve(0..<1999)
        for threads: Int32 in [2, 3, 8] {
            lk_set_threads(threads)
            #expect(one.convolve(0..<1999) == alone)
        }
    }

    @Test func addsAResidualAndThenActivates() {
        for columns in [1, 6, 8, 19, 100] {
            let one = Case(Shape(inputs: 9, outputs: 7, kernel: 5, dilation: 2, columns: columns))
            let shape = one.shape
            onEachISA { isa in
                let plain = one.convolve(0..<columns)
                let residual = (0..<7 * columns).map { Float($0 % 11) - 5 }
                var y = [Float](repeating: 0, count: 7 * columns)
                var activated = y
                residual.withUnsafeBufferPointer { residual in
                    y.withUnsafeMutableBufferPointer { y in
                        activated.withUnsafeMutableBufferPointer { activated in
                            var output = lk_conv1d_output(
                                add: residual.baseAddress, ld_add: columns, y: y.baseAddress, ldy: columns,
                                activated: activated.baseAddress, ld_activated: columns, slope: 0.1)
                            let status = lk_conv1d_into(
                                &output, one.x, one.stride, columns, one.packed, one.bias, shape.inputs,
                                shape.outputs, shape.kernel, shape.dilation)
                            #expect(status == 0)
                        }
                    }
                }
                for output in 0..<7 {
                    for column in 0..<columns {
                        let index = output * columns + column
                        let sum = plain[output * (columns + 1) + column] + residual[index]
                        #expect(y[index] == sum, "\(isa)")
                        #expect(activated[index] == max(sum, sum * 0.1), "\(isa)")
                    }
                }
            }
        }
    }

    /// Floats are rounded to the nearest BF16 number, NaN stays, and an odd last channel has no partner.
    @Test func pairsAreRoundedToTheNearest() throws {
        let numbers: [Float] = [1.00390625, 1.01171875, -3.1415927, 1e30, 3.4e38, 0, -0.0, .nan]
        try onEachISA(tiles: true) { isa in
            for (index, number) in numbers.enumerated() {
                var packed = [Float](repeating: 0, count: lk_conv1d_pairs_count(1, 1, 1))
                lk_conv1d_pack_pairs(&packed, [1], 1, 1, 1)
                var y: [Float] = [77]
                let status = y.withUnsafeMutableBufferPointer { y in
                    var output = lk_conv1d_output()
                    (output.y, output.ldy) = (y.baseAddress, 1)
                    return lk_conv1d_pairs_into(&output, [number], 1, 1, packed, nil, 1, 1, 1, 1)
                }
                try #require(status == 0)
                let want = Float(bitPattern: UInt32(StoredReference.bfloat16(number)) << 16)
                #expect(y[0] == want || number.isNaN && y[0].isNaN, "number \(index) on \(isa)")
            }
        }
    }

    @Test func spreadsAPhase() {
        var y = [Float](repeating: 0, count: 2 * 7)
        lk_spread(&y, 7, 3, [1, 2, 9, 3, 4, 9], 3, 2, 2)
        #expect(y == [1, 0, 0, 2, 0, 0, 0, 3, 0, 0, 4, 0, 0, 0])
    }
}

/// SplitMix64, for numbers that are the same in every run.
private struct SplitMix {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// -1 to 1
    mutating func float() -> Float { Float(Int64(bitPattern: next()) >> 40) / 8_388_608 }
}
