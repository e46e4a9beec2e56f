import LyraBase
import Testing

@testable import LyraTensor

/// Tensors as values: views, writing in place, and operations of several kernels.
@Suite struct TensorTests {
    private func counting(_ shape: [Int]) throws -> Tensor {
        try Tensor(shape, (0..<shape.reduce(1, *)).map(Float.init))
    }

    /// An empty tensor may have long axes, but none whose product overflows without its zeros: files can claim any.
    @Test func shapesWhoseProductOverflowsAreRefused() throws {
        for shape in [[1 << 62, 4], [0, 1 << 62, 4], [1 << 62, 0, 4], [1 << 62, 4, 0], [.max, .max, 0]] {
            let stored = StoredTensor(
                name: "t", type: .float32, shape: shape, bytes: UnsafeRawBufferPointer(start: nil, count: 0),
                owner: Anchor(), source: "test")
            for make in [
                { try Tensor(zeros: shape) }, { try Tensor(shape, []) }, { try Tensor(zeros: [0]).reshaped(shape) },
                { try stored.values() },
            ] as [() throws -> Tensor] {
                #expect(throws: LyraError(.memory, "the element count of shape \(shape.prefix(16)) overflows")) {
                    try make()
                }
            }
            #expect(throws: LyraError.self) { try Weight(stored) }
        }
        #expect(throws: LyraError.self) { try Tensor(zeros: [-1, 0]) }
        let long = try Tensor(zeros: [0, 1 << 40, 3])
        #expect((long.rows, long.columns, long.count) == (0, 3 << 40, 0))
        #expect(try long.reshaped([1 << 40, 3, 0]).columns == 0)
        for shape in [[0, 1 << 40, 1], [1, 0, 1 << 40], [1, 1 << 40, 0]] {
            let weight = try Tensor(zeros: shape), bias = try Tensor(zeros: [shape[0]])
            #expect(throws: LyraError.self) { try Convolution1D(weight, bias: bias) }
            #expect(throws: LyraError.self) {
                try TransposedConvolution1D(weight, bias: bias, rate: 1, precision: .exact)
            }
        }
    }

    /// A file can name a tensor and its type anything, and give it any number of axes: messages stay short and can be
    /// printed.
    @Test func messagesQuoteNamesFromFiles() throws {
        let name = "a\u{1B}[2J\n" + String(repeating: "x", count: 10_000)
        func stored(_ type: ElementType, _ shape: [Int], bytes count: Int = 0) throws -> StoredTensor {
            let storage = try FloatStorage(count: count / 4 + 1)
            return StoredTensor(
                name: name, type: type, shape: shape, bytes: UnsafeRawBufferPointer(start: storage.base, count: count),
                owner: storage, source: "test", typeName: name)
        }
        let long = [Int](repeating: 1, count: 10_000)
        let bytes = try FloatStorage(count: 8)
        for fail in [
            { _ = try Weight(stored(.int32, [1], bytes: 4)) }, { _ = try Weight(stored(.float32, long + [0])) },
            { _ = try Weight(stored(.q8_0, long + [32], bytes: 68)) }, { _ = try stored(.other, [1]).values() },
            { _ = try stored(.other, [1]).floats() },
            { try stored(.float32, [1], bytes: 4).store(0..<2, as: .float32, to: bytes.base, scratch: bytes) },
        ] as [() throws -> Void] {
            let error = #expect(throws: LyraError.self) { try fail() }
            let message = error?.message ?? ""
            #expect(message.count < 500 && message.contains("\"a\\u{1B}[2J\\nxxx"), "\(message)")
        }
    }

    private final class Anchor {}

    @Test func onlyTheGivenRowsAreReplaced() throws {
        var tensor = try counting([4, 3])
        try tensor.replace(rowsFrom: 1, with: Tensor([2, 3], [Float](repeating: -1, count: 6)))
        #expect(tensor.values == [0, 1, 2, -1, -1, -1, -1, -1, -1, 9, 10, 11])
    }

    @Test func aViewKeepsItsValuesWhenTheWholeIsWritten() throws {
        var tensor = try counting([3, 2])
        let view = tensor.rows(1..<2)
        try tensor.replace(rowsFrom: 1, with: Tensor([1, 2], [8, 9]))
        #expect(view.values == [2, 3])
        #expect(tensor.values == [0, 1, 8, 9, 4, 5])
    }

    @Test func theGivenRowsAreKeptInTheirOrder() throws {
        let tensor = try counting([4, 2, 2])
        let kept = try tensor.keepingRows([3, 0, 3])
        #expect(kept.shape == [3, 2, 2])
        #expect(kept.values == [12, 13, 14, 15, 0, 1, 2, 3, 12, 13, 14, 15])
        #expect(try tensor.rows(1..<3).keepingRows([1]).values == [8, 9, 10, 11])
        #expect(try tensor.keepingRows([]).shape == [0, 2, 2])
        for index in [Int32(-1), 4, .max, .min] {
            #expect(throws: LyraError.self) { try tensor.keepingRows([0, index]) }
        }
        #expect(throws: LyraError.self) { try tensor.rows(1..<3).keepingRows([2]) }
    }

    @Test func rowsOutOfRangeAreRefused() throws {
        var tensor = try counting([3, 2])
        for (first, shape) in [(2, [2, 2]), (-1, [1, 2]), (4, [1, 2]), (Int.max, [1, 2]), (0, [1, 3])] {
            #expect(throws: LyraError.self) { try tensor.replace(rowsFrom: first, with: counting(shape)) }
        }
        #expect(tensor.values == [0, 1, 2, 3, 4, 5])
    }

    /// The first heads are rotated; later columns stay.
    @Test func rotationPairsTheHalvesOfTheFirstHeads() throws {
        let x = try counting([2, 10])
        let (cos, sin) = (try Tensor([2, 2], [0, 1, 0.5, -1]), try Tensor([2, 2], [1, 0, 2, 3]))
        let rotation = Rotation(cos: cos, sin: sin)
        let turned = try x.rotated(rotation, heads: 2).values
        func want(_ row: Int) -> [Float] {
            let v = x.rows(row..<row + 1).values, c = cos.rows(row..<row + 1).values, s = sin.rows(row..<row + 1).values
            let heads = [0, 4].flatMap { first -> [Float] in
                let (a, b) = ([v[first], v[first + 1]], [v[first + 2], v[first + 3]])
                return (0..<2).map { a[$0] * c[$0] - b[$0] * s[$0] } + (0..<2).map { b[$0] * c[$0] + a[$0] * s[$0] }
            }
            return heads + v[8...]
        }
        #expect(turned == want(0) + want(1))
        #expect(x.values == (0..<20).map(Float.init), "the original stays")
        #expect(throws: LyraError.self) { try x.rotated(rotation, heads: 3) }
        #expect(throws: LyraError.self) { try x.rows(0..<1).rotated(rotation, heads: 1) }
    }

    @Test func rowsOfAWeightMultiplyLikeTheWhole() throws {
        let values = (0..<6 * 5).map { Float($0 % 7) - 3 }
        let storage = try FloatStorage(count: values.count)
        storage.base.update(from: values, count: values.count)
        let weight = try Weight(
            StoredTensor(
                name: "w", type: .float32, shape: [6, 5],
                bytes: UnsafeRawBufferPointer(start: storage.base, count: values.count * 4), owner: storage,
                source: "test"))
        let x = try counting([3, 5])
        let whole = try weight.product(x), part = try weight.rows(2..<5).product(x)
        for row in 0..<3 {
            #expect(part.rows(row..<row + 1).values == Array(whole.rows(row..<row + 1).values[2..<5]))
        }
        #expect(try weight.rows(2..<5).byteCount == 3 * 5 * 4)
        for range in [-1..<2, 4..<7, 3..<3] { #expect(throws: LyraError.self) { try weight.rows(range) } }
    }
}
