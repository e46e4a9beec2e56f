import ArgumentParser
import Glibc
import Lyra

/// The arguments of the command line.
enum Arguments {
    /// All arguments without the program's name. Arguments that are not UTF-8 are in `SystemPath`'s encoding, because
    /// `CommandLine.arguments` replaces their bytes.
    static func all() -> [String] {
        (1..<max(Int(CommandLine.argc), 1)).compactMap { index in
            CommandLine.unsafeArgv[index].map { SystemPath.string(cString: $0) }
        }
    }

    /// - Throws: `ValidationError` if an option that takes any text is followed by the name of another option, because
    ///   its value was probably forgotten.
    static func checkForgottenValues(_ arguments: [String]) throws {
        for (option, value) in zip(arguments, arguments.dropFirst())
        where texts.contains(option) && value.hasPrefix("-") {
            guard names(LyraCommand.self).contains(value) else { continue }
            throw ValidationError(
                "Missing value for '\(option)' (the text \(value) itself is written \(option)=\(value))")
        }
    }

    /// Options whose value may be any text, even with a leading dash.
    private static let texts: Set<String> = ["--prompt", "--system", "--question", "--answer"]

    /// All option names of a command and its subcommands, as in its help.
    private static func names(_ command: any ParsableCommand.Type) -> Set<String> {
        let text = LyraCommand.helpMessage(for: command)
        let words = text.split { !($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }.map(String.init)
        return command.configuration.subcommands.reduce(into: Set(words.filter { $0.hasPrefix("-") && $0 != "-" })) {
            $0.formUnion(names($1))
        }
    }
}

/// Typed text with invalid UTF-8 replaced, as in text that is fed.
func typedText(_ argument: String) -> String {
    String(decoding: SystemPath.bytes(argument), as: UTF8.self)
}

/// The seed of a random sequence; a negative number stands for the 64-bit number with the same bits.
struct Seed: ExpressibleByArgument {
    let value: UInt64

    init(_ value: UInt64) { self.value = value }

    init?(argument: String) {
        guard let value = UInt64(argument) ?? Int64(argument).map({ UInt64(bitPattern: $0) }) else { return nil }
        self.value = value
    }

    var defaultValueDescription: String { "\(value)" }
}
