import CKernels
import Foundation
import LyraTensor
import Synchronization
import Testing

/// Weights from blocks and in packed memory do what plain ones do.
@Suite struct PackedWeightTests {
    private final class Bytes {
        let buffer: UnsafeMutableRawBufferPointer

        init(_ bytes: [UInt8]) {
            buffer = .allocate(byteCount: bytes.count, alignment: 8)
            buffer.copyBytes(from: bytes)
        }

        deinit { buffer.deallocate() }
    }

    private func stored(_ type: ElementType, _ shape: [Int], _ bytes: [UInt8]) -> StoredTensor {
        let owner = Bytes(bytes)
        return StoredTensor(
            name: "w", type: type, shape: shape, bytes: UnsafeRawBufferPointer(owner.buffer), owner: owner,
            source: "test")
    }

    private func plain(_ outputs: Int, _ inputs: Int) throws -> Weight {
        var sequence = Sequence(outputs + inputs)
        let values = sequence.floats(outputs * inputs)
        return try Weight(stored(.float32, [outputs, inputs], values.withUnsafeBytes { Array($0) }))
    }

    /// Eight bits keep 1 / 127 / √12 of the largest of 32, four bits a sixteenth; x is rounded as well.
    @Test(arguments: [
        (ElementType.bfloat16, 0.005), (.q8_0, 0.01), (.q6_k, 0.025), (.q4_k, 0.1), (.q4_0, 0.12),
    ])
    func packingKeepsTheProduct(_ element: ElementType, _ tolerance: Double) throws {
        let weight = try plain(300, 512), packed = try weight.packed(as: element)
        #expect(packed.isPacked && !weight.isPacked && packed.outputs == 300 && packed.inputs == 512)
        #expect(packed.byteCount < weight.byteCount)
        var sequence = Sequence(9)
        let x = try Tensor([3, 512], sequence.floats(3 * 512))
        let (want, got) = (try weight.multiply(x).values, try packed.multiply(x).values)
        let error = zip(want, got).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
        #expect((error / want.reduce(0.0) { $0 + Double($1 * $1) }).squareRoot() < tolerance)
    }

    /// Another model may be opened with another number of threads while a product runs.
    @Test(arguments: [1, 40]) func theSizeOfThePoolMayChangeMeanwhile(_ rows: Int) throws {
        let packed = try plain(4096, 64).packed(as: .q8_0)
        var sequence = Sequence(5)
        let x = try Tensor([rows, 64], sequence.floats(rows * 64))
        let want = try packed.multiply(x).values
        let usual = lk_threads()
        let ends = DispatchSemaphore(value: 0), goesOn = Mutex(true)
        Thread.detachNewThread {
            var threads: Int32 = 1
            while goesOn.withLock({ $0 }) {
                lk_set_threads(threads)
                threads = threads % 4 + 1
            }
            ends.signal()
        }
        defer {
            goesOn.withLock { $0 = false }
            ends.wait()
            lk_set_threads(usual)
        }
        for _ in 0..<500 { #expect(try packed.multiply(x).values == want) }
    }

    @Test(arguments: [ElementType.bfloat16, .q8_0, .q4_0, .q4_k, .q6_k])
    func rowsAndCopiesAreThoseOfTheWhole(_ element: ElementType) throws {
        let packed = try plain(300, 256).packed(as: element), part = try packed.rows(70..<200)
        var sequence = Sequence(2)
        let x = try Tensor([2, 256], sequence.floats(512)), whole = try packed.multiply(x).values
        #expect(try part.multiply(x).values == Array(whole[70..<200]) + Array(whole[370..<500]))
        #expect(part.outputs == 130 && part.byteCount < packed.byteCount)
        #expect(try part.rows(1..<2).multiply(x).values == [whole[71], whole[371]])
        var (row, same) = ([Float](repeating: 0, count: 256), [Float](repeating: 1, count: 256))
        part.copyRow(5, to: &row)
        packed.copyRow(75, to: &same)
        #expect(row == same)
        #expect(throws: LyraError.self) { try packed.rows(299..<301) }
    }

    /// Plain and packed weights beside each other, with and without a bias.
    @Test func productsBesideEachOtherAreThoseOfEach() throws {
        let plain = try plain(40, 256), packed = try plain.packed(as: .q8_0), other = try plain.packed(as: .bfloat16)
        var sequence = Sequence(4)
        let x = try Tensor([3, 256], sequence.floats(3 * 256)), bias = sequence.floats(40)
        for weights in [[plain, packed], [packed, other, packed]] {
            let total = 40 * weights.count
            let beside = try Tensor([3, total]) { y in
                try WeightProduct.run(
                    weights.enumerated().map { index, weight in
                        WeightProduct(weight, into: y + 40 * index, rowStride: total, bias: index == 0 ? bias : nil)
                    }, of: x)
            }
            let values = beside.values
            for (index, weight) in weights.enumerated() {
                let alone = try weight.multiply(x, bias: index == 0 ? bias : nil).values
                for row in 0..<3 {
                    let start = row * total + 40 * index
                    #expect(Array(values[start..<start + 40]) == Array(alone[row * 40..<row * 40 + 40]))
                }
            }
        }
        #expect(throws: LyraError.self) { try packed.multiply(x, bias: [1]) }
    }

    /// From blocks, from a repacked one, and by way of another type: the same numbers.
    @Test func convertingIsTheSameFromEverywhere() throws {
        let packed = try plain(40, 256).packed(as: .q8_0)
        #expect(try packed.packed(as: .q8_0).isPacked)
        var sequence = Sequence(3)
        let x = try Tensor([1, 256], sequence.floats(256))
        #expect(try packed.packed(as: .bfloat16).packed(as: .q4_0).multiply(x).rows == 1)
        var blocks: [UInt8] = []
        for block in 0..<40 * 8 {
            blocks += [UInt8(block % 256), 0x20]
            for element in 0..<32 { blocks.append(UInt8(element * 7)) }
        }
        let stored = stored(.q8_0, [40, 256], blocks)
        #expect(stored.count == 40 * 256)
        let (weight, values) = (try Weight(stored), try stored.floats())
        #expect(weight.isPacked && values.count == 40 * 256)
        var row = [Float](repeating: 0, count: 256)
        weight.copyRow(39, to: &row)
        #expect(row == Array(values.suffix(256)))
    }

    @Test func blocksThatDoNotFitAreRefused() throws {
        let block = [UInt8](repeating: 0, count: 34)
        #expect(throws: LyraError.self) { try Weight(stored(.q8_0, [1, 33], block)) }
        #expect(throws: LyraError.self) { try Weight(stored(.q8_0, [2, 32], block)) }
        #expect(throws: LyraError.self) { try Weight(stored(.q4_k, [1, 32], block)) }
        #expect(throws: LyraError.self) { try Weight(stored(.q8_0, [0, 32], block)) }
        #expect(throws: LyraError.self) { try Weight(stored(.q8_0, [1, Int.max, 2], block)) }
        #expect(throws: LyraError.self) { try Weight(stored(.int8, [1, 34], block)) }
        let weight = try plain(2, 40)
        #expect(!ElementType.q8_0.canPack(inputs: 40) && ElementType.bfloat16.canPack(inputs: 40))
        #expect(throws: LyraError.self) { try weight.packed(as: .q8_0) }
        #expect(throws: LyraError.self) { try weight.packed(as: .float32) }
        #expect(throws: LyraError.self) { try weight.packed(as: .int8) }
        let packed = try weight.packed(as: .bfloat16)
        #expect(throws: LyraError.self) { try packed.multiply(Tensor(zeros: [1, 32])) }
    }
}
