import CKernels
import Glibc
import LyraBase

/// Memory for packed weights, immutable once filled.
final class PackedStorage: @unchecked Sendable {
    let base: UnsafeMutableRawPointer
    let byteCount: Int

    /// Smallest allocation that requests 2 MB pages. With small pages, streaming the weights would be limited by
    /// page-table walks.
    private static let hugePage = 2 << 20

    /// - Throws: `LyraError.memory` if there is no room. The memory is uninitialised.
    init(byteCount: Int) throws {
        let huge = byteCount >= 2 * Self.hugePage
        guard let memory = FloatStorage.heapMemory(byteCount, alignment: huge ? Self.hugePage : 64) else {
            throw LyraError(.memory, "no memory for \(byteCount) bytes of weights")
        }
        if huge { madvise(memory, byteCount, MADV_HUGEPAGE) }
        base = memory
        self.byteCount = byteCount
    }

    deinit { free(base) }
}

extension ElementType {
    /// The kernels' name of the type; nil if the kernels do not read it.
    var kernelType: lk_type? {
        switch self {
        case .float32: LK_F32
        case .float16: LK_F16
        case .bfloat16: LK_BF16
        case .q8_0: LK_Q8_0
        case .q4_0: LK_Q4_0
        case .q4_k: LK_Q4_K
        case .q6_k: LK_Q6_K
        default: nil
        }
    }

    /// Whether a matrix of this type with this many inputs can be packed.
    public func canPack(inputs: Int) -> Bool {
        kernelType.map { inputs > 0 && lk_can_pack($0, inputs) != 0 } ?? false
    }
}
