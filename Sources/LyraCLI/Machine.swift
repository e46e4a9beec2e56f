import CKernels
import Glibc

/// The machine that a benchmark runs on.
enum Machine {
    /// The processor, the number of compute threads, and the instruction set of the kernels.
    static var description: String {
        "\(processor), \(lk_threads()) threads, \(String(cString: lk_isa_name(lk_current_isa())))"
    }

    /// Name of the processor in /proc/cpuinfo.
    private static var processor: String {
        guard let file = fopen("/proc/cpuinfo", "r") else { return "unknown processor" }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 512)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            if text.hasPrefix("model name"), let name = text.split(separator: ":").last {
                return name.drop { $0 == " " }.filter { $0 != "\n" }
            }
        }
        return "unknown processor"
    }
}
