import ArgumentParser
import CKernels
import Lyra
import LyraBase
import LyraTensor

struct KernelsBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "kernels",
        abstract: "Times products of matrices with every instruction set of the processor, and says which is used.",
        discussion: """
            For each type of weights and number of rows of x, the rate of x · wᵀ with \(KernelsBench.size) × \
            \(KernelsBench.size) weights; with one row, as when tokens are decoded, with as many weights as do not fit \
            in the cache. Products with F32 weights are OpenBLAS's where it is installed and has kernels for the \
            processor.
            """)

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp("Numbers of rows of x, separated by commas, each of 1…4096.", valueName: "n,…"))
    var rows: NumberList = "1,6,64,512"

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    @Option(parsing: .unconditional, help: ArgumentHelp("Number of measurements; the median is shown.", valueName: "n"))
    var repetitions = 3

    @Flag(help: "Print one JSON object instead of the table.")
    var json = false

    func validate() throws {
        for (name, value) in [("--threads", threads ?? 1), ("--repetitions", repetitions)]
        where value < 1 || value > 1 << 20 {
            throw ValidationError("\(name) must be in 1…\(1 << 20)")
        }
        guard rows.values.allSatisfy({ (1...4096).contains($0) && $0 == $0.rounded() }) else {
            throw ValidationError("--rows must be whole numbers of 1…4096")
        }
    }

    func run() throws {
        if let threads { lk_set_threads(Int32(clamping: threads)) }
        let bar = ProgressBar()
        defer { bar.clear() }
        let bench = try KernelsBench(repetitions: repetitions)
        var results: [KernelsBench.Result] = []
        for type in KernelsBench.types {
            bar.show(type.name, 0, 0)
            for count in rows.values { results.append(try bench.measure(type, rows: Int(count))) }
        }
        bar.clear()
        try printOutput((json ? report(results, bench).text : table(results, bench)) + "\n")
    }

    private func table(_ results: [KernelsBench.Result], _ bench: KernelsBench) -> String {
        let names = bench.sets.map(\.name)
        let title =
            "\(Machine.description); median of \(repetitions); in use: \(bench.inUse); products of floats: "
            + MachineLimits.floatProducts
        let header = "| weights | rows | unit | \(names.joined(separator: " | ")) |\n|---|--:|---|"
        let lines = results.map { result in
            let rates = result.rates.map { $0 < 100 ? "\(($0 * 10).rounded() / 10)" : "\(Int($0.rounded()))" }
            return "| \(result.type) | \(result.rows) | \(result.unit) | \(rates.joined(separator: " | ")) |"
        }
        return ([title, "", header + String(repeating: "--:|", count: names.count)] + lines).joined(separator: "\n")
    }

    private func report(_ results: [KernelsBench.Result], _ bench: KernelsBench) -> JSONValue {
        .object([
            ("machine", .string(Machine.description)), ("threads", .number(Double(lk_threads()))),
            ("repetitions", .number(Double(repetitions))), ("in_use", .string(bench.inUse)),
            ("float_products", .string(MachineLimits.floatProducts)),
            (
                "results",
                .array(
                    results.map { result in
                        .object([
                            ("weights", .string(result.type)), ("rows", .number(Double(result.rows))),
                            ("unit", .string(result.unit)),
                            ("rates", .object(zip(bench.sets, result.rates).map { ($0.name, .number($1)) })),
                        ])
                    })
            ),
        ])
    }
}

/// Products of matrices with random numbers, on each instruction set in turn.
final class KernelsBench {
    struct Result {
        var type: String
        var rows: Int
        var unit: String
        /// One for each of `sets`.
        var rates: [Double]
    }

    static let size = 2048
    static let types: [(name: String, type: lk_type)] = [
        ("F32", LK_F32), ("BF16", LK_BF16), ("Q8_0", LK_Q8_0), ("Q4_0", LK_Q4_0), ("Q4_K", LK_Q4_K), ("Q6_K", LK_Q6_K),
    ]
    /// With one row, so many bytes of weights at least.
    private static let streamedBytes = 512 << 20
    /// A measurement takes so many seconds at least.
    private static let shortest = 0.05

    /// The instruction sets of this processor.
    let sets: [(name: String, isa: lk_isa)]
    /// The name of the set that lyra uses here.
    let inUse: String
    private let repetitions: Int
    private let values: FloatStorage

    init(repetitions: Int) throws {
        self.repetitions = repetitions
        inUse = String(cString: lk_isa_name(lk_current_isa()))
        sets = (0..<lk_isa.RawValue(LK_ISA_NO_LIMIT.rawValue)).lazy.map { lk_isa(rawValue: $0) }
            .prefix { lk_isa_name($0) != nil }.filter { lk_limit_isa($0) != 0 }
            .map { (String(cString: lk_isa_name($0)), $0) }
        _ = lk_limit_isa(LK_ISA_NO_LIMIT)
        values = try FloatStorage(mapping: Self.size * Self.size)
        for index in 0..<values.count { values.base[index] = Float(index &* 7919 % 1009) / 504.5 - 1 }
    }

    func measure(_ type: (name: String, type: lk_type), rows: Int) throws -> Result {
        let size = Self.size, bytes = type.type == LK_F32 ? size * size * 4 : lk_packed_bytes(type.type, size, size)
        let copies = rows == 1 ? (Self.streamedBytes + bytes - 1) / bytes : 1
        let weights = try weights(type.type, bytes: bytes, copies: copies)
        let x = try Tensor([rows, size]) { $0.update(from: values.base, count: rows * size) }
        var y = try Tensor(zeros: [rows, size * copies])
        defer { _ = lk_limit_isa(LK_ISA_NO_LIMIT) }
        let rates = try sets.map { set in
            _ = lk_limit_isa(set.isa)
            let seconds = try median {
                try x.withValues { x in
                    try y.withMutableValues { y in
                        try checkKernel(product(y, x, rows, weights, type.type, size * copies), "the measurement")
                    }
                }
            }
            return rows == 1
                ? Double(bytes * copies) / seconds / 1e9 : 2 * Double(rows * size * size) / seconds / 1e9
        }
        return Result(type: type.name, rows: rows, unit: rows == 1 ? "GB/s" : "GFLOP/s", rates: rates)
    }

    /// Packed weights of [copies · size, size]; F32 as they are.
    private func weights(_ type: lk_type, bytes: Int, copies: Int) throws -> FloatStorage {
        let size = Self.size, storage = try FloatStorage(mapping: bytes * copies / 4)
        let base = UnsafeMutableRawPointer(storage.base)
        if type == LK_F32 {
            base.copyMemory(from: values.base, byteCount: bytes)
        } else {
            let plain = try FloatStorage(count: size * size)
            lk_quantize(plain.base, type, values.base, size * size)
            lk_pack(base, plain.base, type, size, size)
        }
        for copy in stride(from: 1, to: copies, by: 1) {
            (base + copy * bytes).copyMemory(from: base, byteCount: bytes)
        }
        return storage
    }

    private func product(
        _ y: UnsafeMutablePointer<Float>, _ x: UnsafePointer<Float>, _ rows: Int, _ weights: FloatStorage,
        _ type: lk_type, _ outputs: Int
    ) -> Int32 {
        let size = Self.size
        guard type != LK_F32 else {
            return lk_linear(y, outputs, x, size, rows, size, weights.base, LK_F32, outputs, nil, LK_STORE)
        }
        var product = lk_packed_product(
            y: y, ldy: outputs,
            weights: lk_packed_weights(panels: weights.base, type: type, first: 0, n: outputs), bias: nil,
            epilogue: LK_STORE)
        return lk_packed_linear(&product, 1, x, size, rows, size)
    }

    /// Median seconds of a call.
    private func median(_ body: () throws -> Void) throws -> Double {
        try body()
        return try (0..<repetitions).map { _ in
            let start = MonotonicTime.seconds
            var calls = 0.0
            repeat {
                try Interruption.check()
                try body()
                calls += 1
            } while MonotonicTime.seconds - start < Self.shortest
            return (MonotonicTime.seconds - start) / calls
        }.sorted()[repetitions / 2]
    }
}
