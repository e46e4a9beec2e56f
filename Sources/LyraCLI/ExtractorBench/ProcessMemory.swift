import LyraBase
import Glibc
import LyraFormats

/// Linux's figures on the memory of this process and of the machine, in bytes.
enum ProcessMemory {
    /// Peak resident memory since the start or since `resetPeak`; nil if unknown.
    static var peak: Int? { kilobytes("VmHWM", of: "/proc/self/status") }

    /// Memory that can be allocated without swapping; nil if unknown.
    static var available: Int? { kilobytes("MemAvailable", of: "/proc/meminfo") }

    /// Resets `peak`. → whether the system allows it
    @discardableResult
    static func resetPeak() -> Bool {
        let descriptor = open("/proc/self/clear_refs", O_WRONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        return Glibc.write(descriptor, "5", 1) == 1
    }

    /// Reads a line such as "VmHWM:    12345 kB".
    private static func kilobytes(_ key: String, of path: String) -> Int? {
        guard let file = fopen(path, "r") else { return nil }
        defer { fclose(file) }
        var line = [CChar](repeating: 0, count: 256)
        while fgets(&line, Int32(line.count), file) != nil {
            let text = String(decoding: line.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
            guard text.hasPrefix(key + ":") else { continue }
            let digits = text.drop { !$0.isNumber }.prefix { $0.isNumber }
            return Int(digits).flatMap { $0.checkedMultiplying(by: 1024) }
        }
        return nil
    }
}
