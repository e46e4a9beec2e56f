import CKernels
import Glibc
import LyraBase
import LyraTensor

/// The machine's limits, measured by small loops, for comparison with the parts of a model.
final class MachineLimits {
    /// Rows and depth of the matrices that are multiplied, and columns: work for every thread.
    private static let size = 2048
    private static var columns: Int { max(size, 256 * Int(lk_threads())) }

    private let repetitions: Int
    private var readMemory: FloatStorage?

    init(repetitions: Int) { self.repetitions = repetitions }

    /// Bytes per second when all threads together read 1 GB once, each in a plain loop.
    func readingRate() throws -> Double {
        let memory = try readMemory ?? Self.filled(1 << 28)
        readMemory = memory
        let start = MonotonicTime.seconds
        let sum = lk_read_all(memory.base, memory.count * 4)
        // The data are ones; checking the sum keeps the compiler from removing the loop.
        return sum == 1 ? 0 : Double(memory.count * 4) / (MonotonicTime.seconds - start)
    }

    /// Allocated in large pages, like packed weights.
    private static func filled(_ count: Int) throws -> FloatStorage {
        let memory = try FloatStorage(mapping: count)
        madvise(memory.base, count * 4, MADV_HUGEPAGE)
        memory.base.update(repeating: 1, count: count)
        return memory
    }

    /// Returns a function that multiplies two matrices of floats and returns the floating-point operations per second.
    func sgemm() throws -> () throws -> Double {
        let size = Self.size, columns = Self.columns
        let a = try Tensor(zeros: [size, size]), b = try Tensor(zeros: [columns, size])
        var product = try Tensor(zeros: [size, columns])
        return {
            let start = MonotonicTime.seconds
            let status = try product.withMutableValues { c in
                try a.withValues { a in
                    try b.withValues { b in
                        lk_matrix_product(
                            c, columns, lk_factor(data: a, ld: size, transposed: 0),
                            lk_factor(data: b, ld: size, transposed: 1), size, columns, size, 0)
                    }
                }
            }
            try checkKernel(status, "the measurement")
            return 2 * Double(size * columns * size) / (MonotonicTime.seconds - start)
        }
    }

    /// What multiplies matrices of floats: OpenBLAS or lyra's own kernels, and the processor that OpenBLAS knows or why
    /// it was not loaded.
    static var floatProducts: String {
        let kernels = String(cString: lk_sgemm_kernels()), core = String(cString: lk_sgemm_blas_core())
        let named = ["OpenBLAS", "none"].contains(kernels) ? kernels : "lyra's \(kernels)"
        let absence = String(cString: lk_sgemm_blas_absence())
        if !absence.isEmpty { return "\(named) (\(absence))" }
        return named + (core.isEmpty ? "" : " (OpenBLAS's choice: \(core))")
    }

    func median(of rate: () throws -> Double) rethrows -> Double {
        try (0..<repetitions).map { _ in try rate() }.sorted()[repetitions / 2]
    }

    private func peak(_ kind: lk_peak) -> Double {
        median {
            let start = MonotonicTime.seconds
            let operations = lk_peak_operations(kind)
            return operations / (MonotonicTime.seconds - start)
        }
    }

    /// Measures a part that needs no model.
    func measure(_ part: BenchmarkPart) throws -> [BenchmarkRow] {
        switch part {
        case .memory: [try memoryRow()]
        case .limits: try processorRows()
        default: []
        }
    }

    private func memoryRow() throws -> BenchmarkRow {
        let read = try median { try readingRate() }
        return BenchmarkRow(part: "memory", what: "1 GB, read", value: read / 1e9, unit: "GB/s", limit: nil)
    }

    private func processorRows() throws -> [BenchmarkRow] {
        var rows: [BenchmarkRow] = []
        for (name, kind) in [("F32", LK_PEAK_F32), ("BF16", LK_PEAK_BF16), ("bytes", LK_PEAK_INT8)] {
            let unit = kind == LK_PEAK_INT8 ? "GOP/s" : "GFLOP/s"
            rows.append(
                BenchmarkRow(
                    part: "processor", what: "\(name) in registers", value: peak(kind) / 1e9, unit: unit, limit: nil))
        }
        let multiply = try median(of: sgemm())
        rows.append(
            BenchmarkRow(
                part: "product", what: "sgemm \(Self.size)² × \(Self.columns), \(Self.floatProducts)",
                value: multiply / 1e9, unit: "GFLOP/s", limit: nil))
        return rows
    }
}
