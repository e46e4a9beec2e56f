import CKernels
import Foundation
import TestSupport
import Testing

/// A host may have set the processor to treat subnormal floats as zeros. Subnormal halves, such as the scales of small
/// weights, must keep their values.
@Suite(.serialized) struct SubnormalTests {
    /// Runs `body` on this thread alone, with subnormal floats read and written as zeros.
    private func withoutSubnormals<R>(_ body: () -> R) -> R {
        let threads = lk_threads()
        lk_set_threads(1)
        defer { lk_set_threads(threads) }
        #if arch(x86_64)
            var usual = fenv_t()
            fegetenv(&usual)
            var changed = usual
            changed.__mxcsr |= 0x8040
            fesetenv(&changed)
            defer { fesetenv(&usual) }
        #endif
        return body()
    }

    private func sameOnEachISA<Element: Equatable>(_ what: String, _ body: () -> [Element]) {
        onEachISA { isa in
            let usual = body()
            #expect(withoutSubnormals(body) == usual, "\(what), \(isa)")
        }
    }

    @Test func halvesBecomeFloats() {
        let halves = (0...UInt16.max).filter { !Float16(bitPattern: $0).isNaN }
        let want = halves.map { Float(Float16(bitPattern: $0)) }
        onEachISA { isa in
            let got = withoutSubnormals {
                var floats = [Float](repeating: 77, count: halves.count)
                lk_dequantize(&floats, halves, LK_F16, halves.count)
                return floats.map(\.bitPattern)
            }
            #expect(got == want.map(\.bitPattern), "\(isa)")
        }
    }

    @Test func floatsBecomeHalves() {
        var sequence = Sequence(3)
        let floats = sequence.floats(2000) + sequence.floats(2000).map { $0 * 0x1p-13 } + [0x1p-24, -0x1.8p-24]
        for type in [LK_KV_F16, LK_KV_BF16] {
            sameOnEachISA("type \(type.rawValue)") {
                var page = [UInt16](repeating: 0xABCD, count: floats.count)
                storeRow(floats, as: type, in: &page)
                return page
            }
        }
    }

    @Test(arguments: PackedLinearTests.types) func smallWeightsKeepTheirValues(_ type: lk_type) {
        let (n, k) = (40, 512)
        var sequence = Sequence(8)
        let weights = sequence.floats(n * k).map { $0 * 0.001 }, x = sequence.floats(3 * k)
        func stored() -> [UInt8] {
            var bytes = [UInt8](repeating: 0, count: n * k / lk_block_elements(type) * lk_block_bytes(type))
            lk_quantize(&bytes, type, weights, n * k)
            return bytes
        }
        sameOnEachISA("blocks", stored)
        let bytes = stored(), packed = PackedLinearTests.PackedMemory(bytes, type, n: n, k: k)
        sameOnEachISA("floats") {
            var wide = [Float](repeating: 77, count: n * k)
            lk_dequantize(&wide, bytes, type, n * k)
            return wide
        }
        sameOnEachISA("a packed row") {
            var row = [Float](repeating: 77, count: k)
            lk_unpack_row(&row, packed.base, type, k, 37)
            return row
        }
        sameOnEachISA("a product") {
            var y = [Float](repeating: 77, count: 3 * n)
            y.withUnsafeMutableBufferPointer { y in
                let product = lk_packed_product(
                    y: y.baseAddress, ldy: n,
                    weights: lk_packed_weights(panels: packed.base, type: type, first: 0, n: n), bias: nil,
                    epilogue: LK_STORE)
                #expect(lk_packed_linear([product], 1, x, k, 3, k) == LK_OK)
            }
            return y
        }
    }
}
