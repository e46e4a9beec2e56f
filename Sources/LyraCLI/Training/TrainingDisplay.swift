import Glibc
import LyraBase
import LyraTraining

/// Shows a run on stderr: on a terminal one line that is overwritten in place, otherwise a line now and then.
final class TrainingDisplay {
    private let isVisible: Bool
    private let isTerminal = isatty(STDERR_FILENO) == 1
    private let bar = ProgressBar()
    private var isDrawn = false
    /// Smoothed over the last updates: seconds, examples and tokens of one.
    private var pace: (seconds: Double, examples: Double, tokens: Double)?
    private var last: (step: Int, seconds: Double)?
    private var lastLine = 0.0

    /// Seconds between two lines where stderr is no terminal.
    private static let interval = 10.0
    /// The share of the newest update in the smoothed pace.
    private static let newestShare = 0.1

    init(isVisible: Bool) { self.isVisible = isVisible }

    func prepare(_ what: String, _ done: Int, _ total: Int) {
        guard isVisible else { return }
        bar.show(what, done, total)
    }

    func note(_ text: String, isPlain: Bool = false) {
        guard isVisible else { return }
        clear()
        printError((isPlain ? "" : "note: ") + text)
    }

    func clear() {
        bar.clear()
        if isDrawn { write("\r\u{1b}[K", to: STDERR_FILENO) }
        isDrawn = false
    }

    func show(_ progress: TrainingProgress) {
        guard isVisible else { return }
        bar.clear()
        learnPace(progress)
        if isTerminal {
            write("\r\u{1b}[K" + fitted(line(progress)), to: STDERR_FILENO)
            isDrawn = true
        } else if isDue(progress) {
            lastLine = MonotonicTime.seconds
            printError(line(progress))
        }
        if let validation = progress.validation { note(line(validation, after: progress.step), isPlain: true) }
        if progress.isLeftOut { note("update \(progress.step) was left out: its gradient is not finite") }
    }

    private func isDue(_ progress: TrainingProgress) -> Bool {
        progress.step == progress.steps || lastLine == 0 || MonotonicTime.seconds - lastLine >= Self.interval
    }

    private func learnPace(_ progress: TrainingProgress) {
        let seconds = last.map { progress.seconds - $0.seconds } ?? progress.seconds
        // The first update of a resumed run follows many whose time is not known one by one.
        let isKnown = last != nil || progress.step == 1
        last = (progress.step, progress.seconds)
        guard isKnown else { return }
        let new = (seconds, progress.examplesPerSecond * seconds, progress.tokensPerSecond * seconds)
        guard let old = pace else {
            pace = new
            return
        }
        let share = Self.newestShare
        pace = (
            old.seconds + share * (new.0 - old.seconds), old.examples + share * (new.1 - old.examples),
            old.tokens + share * (new.2 - old.tokens)
        )
    }

    // MARK: Lines

    private func line(_ progress: TrainingProgress) -> String {
        var parts = ["update \(progress.step)/\(progress.steps)", losses(progress.loss, progress.parts)]
        if let pace, pace.seconds > 0 {
            parts.append("\(rounded(pace.examples / pace.seconds)) examples/s")
            parts.append("\(rounded(pace.tokens / pace.seconds)) tokens/s")
            let left = progress.steps - progress.step
            if left > 0 { parts.append(duration(pace.seconds * Double(left)) + " left") }
        }
        if progress.skippedExamples > 0 { parts.append("\(progress.skippedExamples) examples left out") }
        return parts.joined(separator: ", ")
    }

    private func line(_ validation: ValidationResult, after step: Int) -> String {
        var text = "validation after update \(step): " + losses(validation.loss, validation.parts)
        for accuracy in validation.accuracies {
            let name = accuracy.name == "exact_match" ? "exact" : accuracy.name
            text += ", \(rounded(accuracy.share * 100)) % \(name)"
        }
        return text + (validation.isBest ? ", the best so far" : "")
    }

    private func losses(_ loss: Double, _ parts: [(name: String, mean: Double)]) -> String {
        let all = "loss \(rounded(loss))"
        guard parts.count > 1 else { return all }
        return all + " (" + parts.map { "\($0.name) \(rounded($0.mean))" }.joined(separator: ", ") + ")"
    }

    /// Larger numbers are shown with an exponent.
    private static let largest = 1e9

    /// Four significant digits.
    private func rounded(_ value: Double) -> String {
        guard value.isFinite, value != 0 else { return value.isNaN ? "nan" : "\(value)" }
        let exponent = Int(log10(abs(value)).rounded(.down))
        if abs(value) >= Self.largest {
            return "\((value / pow(10, Double(exponent)) * 1000).rounded() / 1000)e+\(exponent)"
        }
        guard exponent < 3 else { return "\(Int(value.rounded()))" }
        let factor = pow(10, Double(min(3 - exponent, 300)))
        return "\((value * factor).rounded() / factor)"
    }

    private func duration(_ seconds: Double) -> String {
        guard abs(seconds) < Self.largest else { return "\(rounded(seconds / 3600)) h" }
        let total = Int(seconds.rounded(.up))
        if total < 60 { return "\(total) s" }
        if total < 3600 { return "\(total / 60) min \(total % 60) s" }
        return "\(total / 3600) h \(total / 60 % 60) min"
    }

    /// Cut to the terminal's width, because a line that wraps cannot be overwritten.
    private func fitted(_ line: String) -> String {
        var size = winsize()
        let isKnown = ioctl(STDERR_FILENO, UInt(TIOCGWINSZ), &size) == 0 && size.ws_col > 1
        return String(line.prefix(isKnown ? Int(size.ws_col) - 1 : 79))
    }
}
