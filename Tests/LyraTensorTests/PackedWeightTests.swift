import CKernels
import Foundation
import LyraBase
import Synchronization
import TestSupport
import Testing

@testable import LyraTensor

/// Quantized and packed weights give the results of plain ones.
@Suite struct PackedWeightTests {
    private func numbers(_ outputs: Int, _ inputs: Int) -> [Float] {
        var sequence = Sequence(outputs + inputs)
        return sequence.floats(outputs * inputs)
    }

    private func plain(_ outputs: Int, _ inputs: Int) throws -> Weight {
        try Weight(StoredTensor(.float32, [outputs, inputs], numbers(outputs, inputs).withUnsafeBytes { Array($0) }))
    }

    /// The same numbers in another type, packed.
    private func packed(_ outputs: Int, _ inputs: Int, as element: ElementType) throws -> Weight {
        let values = try Tensor([outputs, inputs], numbers(outputs, inputs))
        var bytes = [UInt8](repeating: 0, count: outputs * inputs / element.blockElements * element.size)
        try bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { try values.store(as: element, to: base) } }
        return try Weight(StoredTensor(element, [outputs, inputs], bytes)).prepared(for: .fast)
    }

    /// The error of eight bits is 1 / 127 / √12 of the largest of 32, of four bits 16 times that; x is rounded, too.
    @Test(arguments: [
        (ElementType.bfloat16, 0.005), (.q8_0, 0.01), (.q6_k, 0.025), (.q4_k, 0.1), (.q4_0, 0.12),
    ])
    func packingKeepsTheProduct(_ element: ElementType, _ tolerance: Double) throws {
        let weight = try plain(300, 512), packed = try packed(300, 512, as: element)
        #expect(packed.isPacked && !weight.isPacked && packed.outputs == 300 && packed.inputs == 512)
        #expect(packed.byteCount < weight.byteCount)
        var sequence = Sequence(9)
        let x = try Tensor([3, 512], sequence.floats(3 * 512))
        let (want, got) = (try weight.product(x).values, try packed.product(x).values)
        let error = zip(want, got).reduce(0.0) { $0 + Double(($1.0 - $1.1) * ($1.0 - $1.1)) }
        #expect((error / want.reduce(0.0) { $0 + Double($1 * $1) }).squareRoot() < tolerance)
    }

    /// Another model may be opened with another number of threads while a product runs.
    @Test(arguments: [1, 40]) func theSizeOfThePoolMayChangeDuringAProduct(_ rows: Int) throws {
        let packed = try packed(4096, 64, as: .q8_0)
        var sequence = Sequence(5)
        let x = try Tensor([rows, 64], sequence.floats(rows * 64))
        let want = try packed.product(x).values
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
        for _ in 0..<500 { #expect(try packed.product(x).values == want) }
    }

    @Test(arguments: [ElementType.bfloat16, .q8_0, .q4_0, .q4_k, .q6_k])
    func rowsAndCopiesEqualTheWhole(_ element: ElementType) throws {
        let packed = try packed(300, 256, as: element), part = try packed.rows(70..<200)
        var sequence = Sequence(2)
        let x = try Tensor([2, 256], sequence.floats(512)), whole = try packed.product(x).values
        #expect(try part.product(x).values == Array(whole[70..<200]) + Array(whole[370..<500]))
        #expect(part.outputs == 130 && part.byteCount < packed.byteCount)
        #expect(try part.rows(1..<2).product(x).values == [whole[71], whole[371]])
        var (row, same) = ([Float](repeating: 0, count: 256), [Float](repeating: 1, count: 256))
        part.copyRows([Int32(5)], to: &row)
        packed.copyRows([Int32(75)], to: &same)
        #expect(row == same)
        #expect(throws: LyraError.self) { try packed.rows(299..<301) }
    }

    /// Plain and packed weights in one call, with and without a bias.
    @Test func productsOfOneCallEqualEachAlone() throws {
        let plain = try plain(40, 256)
        let packed = try packed(40, 256, as: .q8_0), other = try self.packed(40, 256, as: .bfloat16)
        var sequence = Sequence(4)
        let x = try Tensor([3, 256], sequence.floats(3 * 256)), bias = try Tensor([40], sequence.floats(40))
        for weights in [[plain, packed], [packed, other, packed]] {
            let total = 40 * weights.count
            let beside = try weights.enumerated().map { index, weight in
                Projection(weight, bias: index == 0 ? bias : nil)
            }.sideBySide(x)
            let values = beside.values
            for (index, weight) in weights.enumerated() {
                let alone = try weight.product(x, bias: index == 0 ? bias : nil).values
                for row in 0..<3 {
                    let start = row * total + 40 * index
                    #expect(Array(values[start..<start + 40]) == Array(alone[row * 40..<row * 40 + 40]))
                }
            }
        }
        #expect(throws: LyraError.self) { try packed.product(x, bias: Tensor([1], [1])) }
    }

    /// Packed quantization blocks have the numbers of the file's reader.
    @Test func packedBlocksHaveTheNumbersOfTheFile() throws {
        var blocks: [UInt8] = []
        for block in 0..<40 * 8 {
            blocks += [UInt8(block % 256), 0x20]
            for element in 0..<32 { blocks.append(UInt8(element * 7)) }
        }
        let stored = StoredTensor(.q8_0, [40, 256], blocks)
        #expect(stored.count == 40 * 256)
        let (weight, values) = (try Weight(stored), try stored.floats())
        #expect(weight.isPacked && values.count == 40 * 256)
        var row = [Float](repeating: 0, count: 256)
        weight.copyRows([Int32(39)], to: &row)
        #expect(row == Array(values.suffix(256)))
    }

    /// Only BF16 can be plain or packed; fast products need it packed.
    @Test func onlyFastProductsWantBF16Packed() throws {
        let bytes = [UInt8](repeating: 0, count: 2 * 40 * 2),
            weight = try Weight(StoredTensor(.bfloat16, [2, 40], bytes))
        #expect(try !weight.prepared(for: .exact).isPacked)
        #expect(try weight.prepared(for: .fast).isPacked)
        #expect(try !plain(2, 40).prepared(for: .fast).isPacked)
    }

    /// A sample of some rows comes from their panels, of 32 rows; a sample of all rows comes from all panels.
    @Test(arguments: [ElementType.bfloat16, .q8_0, .q4_k])
    func samplesComeFromTheRequestedRows(_ element: ElementType) throws {
        func shown(_ weight: Weight) -> [[UInt8]] {
            var runs: [[UInt8]] = []
            weight.sample { $0.withUnsafeBytes { runs.append(Array($0)) } }
            return runs
        }
        let whole = try packed(96, 256, as: element)
        // The same rows as a separate matrix.
        let values = try Tensor([96, 256], numbers(96, 256)).rows(32..<96)
        var bytes = [UInt8](repeating: 0, count: 64 * 256 / element.blockElements * element.size)
        try bytes.withUnsafeMutableBytes { if let base = $0.baseAddress { try values.store(as: element, to: base) } }
        let own = try Weight(StoredTensor(element, [64, 256], bytes)).prepared(for: .fast)
        #expect(shown(try whole.rows(32..<96)) == shown(own))
        #expect(shown(try whole.rows(40..<90)) == shown(own))
        #expect(shown(try whole.rows(0..<96)) == shown(whole) && shown(whole) != shown(own))
    }

    @Test func blocksThatDoNotFitAreRefused() throws {
        let block = [UInt8](repeating: 0, count: 34)
        #expect(throws: LyraError.self) { try Weight(StoredTensor(.q8_0, [1, 33], block)) }
        #expect(throws: LyraError.self) { try Weight(StoredTensor(.q8_0, [2, 32], block)) }
        #expect(throws: LyraError.self) { try Weight(StoredTensor(.q4_k, [1, 32], block)) }
        #expect(throws: LyraError.self) { try Weight(StoredTensor(.q8_0, [0, 32], block)) }
        #expect(throws: LyraError.self) { try Weight(StoredTensor(.q8_0, [1, Int.max, 2], block)) }
        #expect(throws: LyraError.self) { try Weight(StoredTensor(.int8, [1, 34], block)) }
        #expect(!ElementType.q8_0.canPack(inputs: 40) && ElementType.bfloat16.canPack(inputs: 40))
        let packed = try packed(2, 40, as: .bfloat16)
        #expect(throws: LyraError.self) { try packed.product(Tensor(zeros: [1, 32])) }
    }
}
