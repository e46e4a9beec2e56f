import Glibc
import Lyra
import LyraBase
import LyraEvaluation
import LyraFormats

/// A file of answers that grows by a line with each answer, so that a run that was ended can be continued.
final class AnswerLog {
    private let path: String
    private let descriptor: Int32
    private var known: [String: AnswerRecord] = [:]

    /// Creates the file, or continues it.
    ///
    /// - Parameters:
    ///   - run: what the answers depend on, for the file's first line
    ///   - resume: whether to continue a file
    /// - Throws: `LyraError.io` if the file cannot be written, or exists and is not to be continued; `.format` if it is
    ///   no file of answers; `.argument` if its run had other settings; `.state` if another run writes to it.
    init(path: String, run: JSONValue, resume: Bool) throws {
        try FileSystem.checkPath(path)
        self.path = path
        let exists = try FileSystem.isFile(path)
        guard resume || !exists else {
            throw LyraError(
                .io, "\(path): the file exists; add --resume to continue it, or name another")
        }
        descriptor = withSystemPath(path) { open($0, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC, 0o666) }
        guard descriptor >= 0 else { throw LyraError(.io, "\(path): cannot open the file: \(systemMessage())") }
        // Some network file systems have no locks.
        guard flock(descriptor, LOCK_EX | LOCK_NB) == 0 || errno != EAGAIN else {
            throw LyraError(.state, "\(path): another run writes to it; wait for its end, or name another file")
        }
        if exists { try dropUnfinishedLine() }
        let (before, records) = exists ? try AnswerFile.read(path) : (nil, [])
        if let before {
            guard before == run else {
                throw LyraError(
                    .argument,
                    "\(path): its answers come from other settings: \(before.text) instead of \(run.text); use the "
                        + "same, or name another file")
            }
        } else {
            guard records.isEmpty else { throw notAnswers() }
            try append(.object([("run", run)]))
        }
        for record in records where record.answer != nil { known[Self.key(record.item, record.form)] = record }
    }

    deinit { if descriptor >= 0 { close(descriptor) } }

    private func notAnswers() -> LyraError {
        LyraError(.format, "\(path): the first line does not describe the run; name another file")
    }

    private static func key(_ item: Int, _ form: QuestionForm) -> String { "\(item) \(form.rawValue)" }

    /// The answer of an earlier run.
    func answered(item: Int, _ form: QuestionForm) -> AnswerRecord? { known[Self.key(item, form)] }

    func append(_ line: JSONValue) throws {
        let code = write(line.text + "\n", to: descriptor)
        guard code == 0 else { throw LyraError(.io, "\(path): cannot write: \(systemMessage(code))") }
    }

    /// Removes what was written of a line when the run was killed.
    ///
    /// - Throws: `LyraError.format`, and leaves the file as it is, if it does not begin as a file of answers.
    private func dropUnfinishedLine() throws {
        let reader = try FileByteReader(regularFile: path)
        var end = try reader.size
        let start = Array("{\"run\":".utf8), count = Int(min(end, Int64(start.count)))
        guard try count == 0 || start.starts(with: reader.peek(0, count, name: path)) else { throw notAnswers() }
        while end > 0 {
            let count = min(end, 1 << 16)
            let piece = try reader.peek(end - count, Int(count), name: path)
            if let last = piece.lastIndex(of: UInt8(ascii: "\n")) {
                end += Int64(last) + 1 - count
                break
            }
            end -= count
        }
        guard ftruncate(descriptor, off_t(end)) == 0 else {
            throw LyraError(.io, "\(path): cannot remove its unfinished line: \(systemMessage())")
        }
    }
}
