import Glibc

/// One input of libFuzzer.
public struct FuzzInput {
    public let bytes: UnsafeRawBufferPointer

    public init(_ start: UnsafePointer<UInt8>?, _ count: Int) {
        bytes = UnsafeRawBufferPointer(start: start, count: count)
    }

    /// The input's sections between zero bytes, at most `limit`; the last one has the rest.
    public func parts(limit: Int) -> [[UInt8]] {
        bytes.split(separator: 0, maxSplits: limit - 1, omittingEmptySubsequences: false).map { [UInt8]($0) }
    }

    /// Writes the input to a file in memory, the same file for all inputs, and passes its path to `body`.
    ///
    /// - Parameter body: must release every mapping of the file before it returns
    public func withFile(_ body: (_ path: String) throws -> Void) rethrows {
        ftruncate(memoryFile, 0)
        var written = 0
        while written < bytes.count {
            let count = pwrite(memoryFile, bytes.baseAddress.map { $0 + written }, bytes.count - written, written)
            guard count > 0 else { fatalError("the input cannot be written to a file in memory") }
            written += count
        }
        try body(memoryPath)
    }
}

/// An unlinked file in /dev/shm, which disappears however the program ends.
private let memoryFile: Int32 = {
    var template = [CChar]("/dev/shm/lyra-fuzz-XXXXXX".utf8CString)
    let descriptor = mkstemp(&template)
    guard descriptor >= 0, unlink(template) == 0 else { fatalError("/dev/shm: no file can be made") }
    return descriptor
}()

/// The path of the file that `withFile` writes.
public let memoryPath = "/proc/self/fd/\(memoryFile)"

/// Keeps the optimizer from removing unused results.
@inline(never) public func use<T>(_ value: T) { withExtendedLifetime(value) {} }
