import ArgumentParser
import Glibc
import Lyra
import LyraBase

/// An input file of a command; "-" is standard input.
struct InputFile: ExpressibleByArgument {
    /// The name as given.
    let name: String

    init(argument: String) { name = argument }

    var isStandardInput: Bool { name == "-" }

    /// A path that can be opened repeatedly, even for standard input.
    ///
    /// - Throws: `LyraError` if standard input cannot be read to its end.
    func path() throws -> String {
        guard isStandardInput else { return name }
        try StandardInput.makeSeekable()
        return "/dev/stdin"
    }

    /// - Throws: `ValidationError` if more than one file is standard input, which can be read only once.
    static func checkStandardInput(_ files: [InputFile]) throws {
        guard files.count(where: \.isStandardInput) <= 1 else {
            throw ValidationError(
                "- is standard input, which can be read only once (./- is a file named -)")
        }
    }
}

/// Data from a pipe as a seekable file, because media decoders seek.
private enum StandardInput {
    private static let name = "standard input"

    /// Replaces standard input with an unnamed temporary file of all its data; a regular file stays.
    static func makeSeekable() throws {
        var info = stat()
        guard fstat(STDIN_FILENO, &info) == 0 else {
            throw LyraError(.io, "\(name): cannot read it: \(systemMessage())")
        }
        guard info.st_mode & S_IFMT != S_IFREG else { return }
        let descriptor = try Spool(name: name).copy(STDIN_FILENO, check: Interrupt.check)
        defer { close(descriptor) }
        guard lseek(descriptor, 0, SEEK_SET) == 0, dup2(descriptor, STDIN_FILENO) == STDIN_FILENO else {
            throw LyraError(.io, "\(name): cannot read its copy: \(systemMessage())")
        }
    }
}
