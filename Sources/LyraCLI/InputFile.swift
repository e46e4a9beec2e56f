import ArgumentParser
import Glibc
import Lyra
import LyraBase

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
    private static let name = "standard input"

    /// Puts an unnamed temporary file with all of standard input in its place; a regular file stays.
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
