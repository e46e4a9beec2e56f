import Glibc

/// Copies a pipe's data to an unnamed temporary file in the directory TMPDIR, or in /tmp.
package struct Spool {
    private static let pieceLength = 1 << 16
    /// Milliseconds between two calls of `check` while the pipe has no data.
    private static let pollInterval: Int32 = 50

    /// The pipe's name for messages.
    private let name: String
    /// Maximum bytes of the pipe.
    private let limit: Int
    private let limitName: String

    package init(name: String, limit: Int = .max, limitName: String = "the limit") {
        (self.name, self.limit, self.limitName) = (name, limit, limitName)
    }

    /// - Parameter check: called while the pipe is read or waited for; throws to abort
    /// - Returns: The temporary file's descriptor, at the file's end.
    /// - Throws: any error of `check`; `LyraError.io` if a system call fails; `.memory` if the pipe exceeds the limit.
    package func copy(_ source: Int32, check: () throws -> Void) throws -> Int32 {
        let given = getenv("TMPDIR").map { SystemPath.string(cString: $0) } ?? ""
        let directory = given.isEmpty ? "/tmp" : given
        let target = Self.temporary(in: directory)
        guard target >= 0 else {
            throw LyraError(
                .io, "\(name): cannot make a temporary file in \(directory) (TMPDIR): \(systemMessage())")
        }
        do {
            try copy(source, to: target, in: directory, check: check)
            return target
        } catch {
            close(target)
            throw error
        }
    }

    private func copy(_ source: Int32, to target: Int32, in directory: String, check: () throws -> Void) throws {
        guard let memory = retryingAllocation({ malloc(Self.pieceLength) }) else {
            throw LyraError(.memory, "\(name): no memory for a read buffer")
        }
        defer { free(memory) }
        var total = 0
        while true {
            let count = try read(source, into: memory, check: check)
            if count == 0 { return }
            guard count <= limit - total else {
                throw LyraError(
                    .memory, "\(name): more than \(limit) bytes (\(limitName)); pass a file instead")
            }
            total += count
            var written = 0
            while written < count {
                let done = withoutSizeSignal { write(target, memory + written, count - written) }
                if done < 0, errno == EINTR { continue }
                guard done > 0 else {
                    throw LyraError(
                        .io,
                        "\(name): cannot write it to a temporary file in \(directory) (TMPDIR): \(systemMessage())")
                }
                written += done
            }
        }
    }

    /// Waits for bytes and reads them. → their number; 0 at the end
    private func read(
        _ source: Int32, into memory: UnsafeMutableRawPointer, check: () throws -> Void
    ) throws -> Int {
        while true {
            try check()
            var waiting = pollfd(fd: source, events: Int16(POLLIN), revents: 0)
            let ready = poll(&waiting, 1, Self.pollInterval)
            if ready == 0 || ready < 0 && errno == EINTR { continue }
            let count = Glibc.read(source, memory, Self.pieceLength)
            if count >= 0 { return count }
            guard errno == EINTR || errno == EAGAIN else {
                throw LyraError(.io, "\(name): cannot be read: \(systemMessage())")
            }
        }
    }

    /// A descriptor of a file that is deleted when it is closed; negative, with errno, on failure.
    private static func temporary(in directory: String) -> Int32 {
        // O_TMPFILE, which Swift cannot import.
        let unnamed = withSystemPath(directory) { open($0, 0o20_000_000 | O_DIRECTORY | O_RDWR | O_CLOEXEC, 0o600) }
        if unnamed >= 0 { return unnamed }
        // Not every file system supports unnamed files.
        var template = SystemPath.bytes(directory + "/lyra-XXXXXX") + [0]
        return template.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { template in
                guard let path = template.baseAddress else { return -1 }
                let descriptor = mkstemp(path)
                guard descriptor >= 0 else { return -1 }
                unlink(path)
                _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
                return descriptor
            }
        }
    }
}
