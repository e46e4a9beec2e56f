import Glibc
import LyraBase
import LyraFormats

/// A run's log: a line of JSON for each update and each validation, on disk as soon as it is written.
package final class TrainingLog {
    package let path: String
    /// Whether the file was not there before.
    package let isNew: Bool
    /// Whether other runs are kept out. Some network file systems have no locks.
    package let isLocked: Bool
    private let descriptor: Int32

    /// Opens the log, and makes the file if it is not there. As long as it is open, no other run, of this process or of
    /// another, can open it: the lock is that of the run's directory.
    ///
    /// - Throws: `LyraError.io` if the file cannot be opened; `.state` if another run has it open.
    package init(path: String) throws {
        func opened(_ more: Int32) -> Int32 {
            withSystemPath(path) { open($0, O_RDWR | O_CREAT | O_APPEND | O_CLOEXEC | more, 0o666) }
        }
        self.path = path
        let made = opened(O_EXCL)
        isNew = made >= 0
        descriptor = made < 0 && errno == EEXIST ? opened(0) : made
        guard descriptor >= 0 else { throw LyraError(.io, "\(path): cannot open: \(systemMessage())") }
        isLocked = flock(descriptor, LOCK_EX | LOCK_NB) == 0
        // A run that had the lock until now, and trained nothing, has removed its file. The deinitializer closes.
        guard isLocked ? Self.isFile(descriptor, at: path) : errno != EAGAIN else {
            throw LyraError(.state, "\(path): another run writes to it; wait for its end, or use another directory")
        }
    }

    deinit { close(descriptor) }

    /// Whether the path leads to the open file.
    private static func isFile(_ descriptor: Int32, at path: String) -> Bool {
        var (open, there) = (stat(), stat())
        guard fstat(descriptor, &open) == 0, withSystemPath(path, { stat($0, &there) }) == 0 else { return false }
        return open.st_dev == there.st_dev && open.st_ino == there.st_ino
    }

    /// Removes the lines after an update: a run that is resumed there writes them again.
    ///
    /// - Parameter step: the update; 0 begins a new log
    /// - Throws: `LyraError.io` if the file cannot be read or shortened.
    package func removeLines(after step: Int) throws {
        let kept = step == 0 ? 0 : try Self.length(of: path, upTo: step)
        guard ftruncate(descriptor, off_t(kept)) == 0 else {
            throw LyraError(.io, "\(path): cannot shorten: \(systemMessage())")
        }
    }

    private struct Place: Decodable { let step: Int }

    /// Bytes of the lines before the first that belongs to a later update, or was not completed.
    private static func length(of path: String, upTo step: Int) throws -> Int {
        let file = try MappedFile(path: path)
        return withExtendedLifetime(file) {
            var start = 0
            while let end = file.bytes[start...].firstIndex(of: UInt8(ascii: "\n")) {
                let line = UnsafeRawBufferPointer(rebasing: file.bytes[start..<end])
                guard let place = try? JSONText.decode(Place.self, from: line, source: path), place.step <= step
                else { break }
                start = end + 1
            }
            return start
        }
    }

    /// Appends a line, and makes it visible to readers of the file.
    ///
    /// - Throws: `LyraError.io`, for example on a full disk.
    package func write(_ line: LogLine) throws {
        let bytes = Array((try JSONText.encode(line) + "\n").utf8)
        var done = 0
        while done < bytes.count {
            let count = withoutSizeSignal {
                bytes.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            }
            if count > 0 {
                done += count
            } else if count == 0 || errno != EINTR {
                throw LyraError(.io, "\(path): cannot write: \(systemMessage())")
            }
        }
    }

    /// Brings all lines to the disk.
    package func synchronize() { fsync(descriptor) }
}

/// One line: names and values in order. Numbers that are not finite are left out, because JSON has none.
package struct LogLine: Encodable {
    private enum Value {
        case count(Int)
        case number(Double)
    }

    private struct Name: CodingKey {
        let stringValue: String
        var intValue: Int? { nil }
        init(stringValue: String) { self.stringValue = stringValue }
        init?(intValue: Int) { nil }
    }

    private var members: [(String, Value)] = []

    /// The names that each update's line has, besides those of the loss's parts.
    static let names: Set<String> = [
        "step", "epoch", "loss", "learning_rate", "gradient_norm", "examples", "tokens", "examples_per_second",
        "tokens_per_second", "seconds", "skipped", "skipped_updates",
    ]

    mutating func add(_ name: String, _ count: Int) { members.append((name, .count(count))) }

    mutating func add(_ name: String, _ number: Double) {
        if number.isFinite { members.append((name, .number(number))) }
    }

    package func encode(to encoder: any Encoder) throws {
        var container = encoder.container(keyedBy: Name.self)
        for (name, value) in members {
            switch value {
            case .count(let count): try container.encode(count, forKey: Name(stringValue: name))
            case .number(let number): try container.encode(number, forKey: Name(stringValue: name))
            }
        }
    }
}

extension LogLine {
    /// The line of an update.
    package init(_ progress: TrainingProgress) {
        add("step", progress.step)
        add("epoch", progress.epoch)
        add("loss", progress.loss)
        for part in progress.parts { add(part.name, part.mean) }
        add("learning_rate", progress.learningRate)
        add("gradient_norm", progress.gradientNorm)
        add("examples", progress.examples)
        add("tokens", progress.tokens)
        add("examples_per_second", progress.examplesPerSecond)
        add("tokens_per_second", progress.tokensPerSecond)
        add("seconds", progress.seconds)
        add("skipped", progress.skippedExamples)
        add("skipped_updates", progress.skippedUpdates)
    }

    /// The line of the validation after an update.
    package init(_ validation: ValidationResult, step: Int, epoch: Double) {
        add("step", step)
        add("epoch", epoch)
        add("validation_loss", validation.loss)
        for part in validation.parts { add("validation_" + part.name, part.mean) }
        for accuracy in validation.accuracies { add(accuracy.name, accuracy.share) }
    }
}
