import CEditline
import Glibc
import Lyra

/// Reads typed lines with editing and history, or plain lines if stdin or stdout is not a terminal.
final class LineReader {
    enum Line {
        case text(String)
        /// Ctrl-C was pressed while the line was typed.
        case interrupted
        case end
    }

    let isInteractive = isatty(STDIN_FILENO) == 1 && isatty(STDOUT_FILENO) == 1
    private var isBound = false

    func read(prompt: String) -> Line {
        guard isInteractive else { return nextLine() }
        let settings = disableInterruptKey()
        defer { if var settings { tcsetattr(STDIN_FILENO, TCSANOW, &settings) } }
        if !isBound {
            lyra_bind_interrupt()
            isBound = true
        }
        guard let line = readline(prompt) else { return lyra_was_interrupted() != 0 ? .interrupted : .end }
        defer { free(line) }
        if lyra_was_interrupted() != 0 { return .interrupted }
        if line.pointee != 0 { add_history(line) }
        return .text(SystemPath.string(cString: line))
    }

    /// Reads a line of standard input, in which file names need not be UTF-8.
    private func nextLine() -> Line {
        var line: UnsafeMutablePointer<CChar>?, capacity = 0
        defer { free(line) }
        let count = lyra_next_line(&line, &capacity)
        guard count > 0, let line else { return .end }
        let bytes = UnsafeRawBufferPointer(start: line, count: count)
        return .text(SystemPath.string(bytes.last == UInt8(ascii: "\n") ? bytes.dropLast() : bytes[...]))
    }

    /// Makes Ctrl-C arrive as a key, because libedit continues reading after a signal. → the previous terminal settings
    private func disableInterruptKey() -> termios? {
        var settings = termios()
        guard tcgetattr(STDIN_FILENO, &settings) == 0 else { return nil }
        let before = settings
        withUnsafeMutableBytes(of: &settings.c_cc) { $0[Int(VINTR)] = 0 }  // 0 is _POSIX_VDISABLE: no key
        tcsetattr(STDIN_FILENO, TCSANOW, &settings)
        return before
    }
}
