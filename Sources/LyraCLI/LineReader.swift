import CEditline
import Glibc

/// Lines that a person types, with editing and a history of earlier ones; or that stdin holds, if it is no terminal.
final class LineReader {
    enum Line {
        case text(String)
        /// Ctrl-C while the line was typed.
        case interrupted
        case end
    }

    let isInteractive = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1

    func read(prompt: String) -> Line {
        if isInteractive {
            guard let line = readline(prompt) else { return Interrupt.clear() ? .interrupted : .end }
            defer { free(line) }
            if Interrupt.clear() { return .interrupted }
            if line.pointee != 0 { add_history(line) }
            return .text(String(cString: line))
        }
        guard let line = readLine() else { return .end }
        return .text(line)
    }
}
