import Glibc
import LyraBase
import LyraFormats

/// A file of JSON lines with a server's answers, so that a run that was interrupted asks only for the rest.
final class AnswerCache {
    let path: String
    private var answers: [String: [Question]] = [:]
    private let descriptor: Int32

    /// The largest file that is read, in bytes.
    private static let sizeLimit = 1 << 31

    private struct Line: Codable {
        var request: String
        var questions: [Question]
    }

    /// Opens the file, or creates it. A last line that breaks off is ignored.
    ///
    /// - Throws: `LyraError.io` if the file cannot be read or written, `.format` if it is not such a file.
    init(path: String) throws {
        self.path = path
        var needsBreak = false
        if try FileSystem.isFile(path) {
            let bytes = try MappedFile.contents(path: path, limit: Self.sizeLimit)
            let lines = bytes.split(separator: UInt8(ascii: "\n"))
            needsBreak = bytes.last.map { $0 != UInt8(ascii: "\n") } ?? false
            for (index, bytes) in lines.enumerated() {
                let place = "\(path), line \(index + 1)"
                do {
                    let line = try bytes.withUnsafeBytes { try JSONText.decode(Line.self, from: $0, source: place) }
                    answers[line.request] = line.questions
                } catch let error as LyraError {
                    guard index == lines.count - 1, needsBreak else {
                        throw LyraError(error.code, error.message + "; delete the file to ask the server for all again")
                    }
                }
            }
        }
        descriptor = withSystemPath(path) { open($0, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0o666) }
        guard descriptor >= 0 else { throw LyraError(.io, "\(path): cannot write to it: \(systemMessage())") }
        if needsBreak { try write("\n") }
    }

    deinit { close(descriptor) }

    /// Names a request: the same for the same model and prompt.
    static func name(model: String, _ prompt: ChatServer.Prompt) -> String {
        let text = [model, prompt.system, prompt.user].joined(separator: "\u{0}")
        return [0, 1].map { String(stableHash(text, seed: $0), radix: 16) }.joined(separator: "-")
    }

    subscript(_ request: String) -> [Question]? { answers[request] }

    func add(_ request: String, _ questions: [Question]) throws {
        answers[request] = questions
        try write(JSONText.encode(Line(request: request, questions: questions)) + "\n")
    }

    private func write(_ text: String) throws {
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let count = withoutSizeSignal {
                bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            }
            guard count > 0 || count < 0 && errno == EINTR else {
                throw LyraError(.io, "\(path): cannot write to it: \(systemMessage())")
            }
            done += max(count, 0)
        }
    }
}
