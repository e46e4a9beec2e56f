import ArgumentParser
import Glibc
import Lyra

/// A file that a command reads; "-" is standard input.
struct InputFile: ExpressibleByArgument {
    /// As it was given.
    let name: String

    init(argument: String) { name = argument }

    var isStandardInput: Bool { name == "-" }

    /// What is opened: a name that can be opened again and again, also when it is standard input.
    ///
    /// - Throws: `LyraError` if standard input cannot be read to its end.
    func path() throws -> String {
        guard isStandardInput else { return name }
        try StandardInput.makeSeekable()
        return "/dev/stdin"
    }

    /// - Throws: `ValidationError` if more than one of the files is standard input, which ends with the first.
    static func checkStandardInput(_ files: [InputFile]) throws {
        guard files.count(where: \.isStandardInput) <= 1 else {
            throw ValidationError(
                "- is standard input, which can be read once: give it for one file (a file of that name is ./-)")
        }
    }
}

/// What comes through a pipe, as a file that can be read from any place: media decoders move back and forth.
private enum StandardInput {
    /// Puts an unlinked temporary file with all of standard input in its place; a regular file stays.
    static func makeSeekable() throws {
        var info = stat()
        guard fstat(STDIN_FILENO, &info) == 0 else { throw failure("cannot read it") }
        guard info.st_mode & S_IFMT != S_IFREG else { return }
        let folder = getenv("TMPDIR").map { SystemPath.string(cString: $0) } ?? "/tmp"
        var template = SystemPath.bytes(folder + "/lyra-input-XXXXXX") + [0]
        let descriptor = template.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { name in
                guard let name = name.baseAddress else { return Int32(-1) }
                let descriptor = mkstemp(name)
                if descriptor >= 0 { unlink(name) }
                return descriptor
            }
        }
        guard descriptor >= 0 else { throw failure("cannot make a temporary file in \(folder)") }
        defer { close(descriptor) }
        try copy(to: descriptor)
        guard lseek(descriptor, 0, SEEK_SET) == 0, dup2(descriptor, STDIN_FILENO) == STDIN_FILENO else {
            throw failure("cannot read its copy")
        }
    }

    private static func copy(to descriptor: Int32) throws {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        while true {
            try awaitBytes()
            let count = read(STDIN_FILENO, &buffer, buffer.count)
            if count == 0 { return try Interrupt.check() }
            guard count > 0 else {
                guard errno == EINTR || errno == EAGAIN else { throw failure("cannot read it") }
                continue
            }
            let code = buffer.withUnsafeBytes { write($0.prefix(count), to: descriptor) }
            guard code == 0 else { throw failure("cannot copy it to a temporary file", code) }
        }
    }

    /// Waits until there is something to read, or the end; Ctrl-C is noticed within a fifth of a second, also when it came
    /// just before the waiting.
    private static func awaitBytes() throws {
        var waiting = pollfd(fd: STDIN_FILENO, events: Int16(POLLIN), revents: 0)
        repeat { try Interrupt.check() } while poll(&waiting, 1, 200) <= 0
    }

    private static func failure(_ what: String, _ code: Int32 = errno) -> LyraError {
        LyraError(.io, "standard input: \(what): \(String(cString: strerror(code)))")
    }
}
