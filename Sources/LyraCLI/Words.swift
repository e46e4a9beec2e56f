import ArgumentParser
import Glibc
import Lyra

/// The words of the command line.
enum Words {
    /// All words but the program's name, those that are not UTF-8 as `SystemPath` has them: `CommandLine.arguments` has
    /// replaced their bytes.
    static func all() -> [String] {
        (1..<max(Int(CommandLine.argc), 1)).compactMap { index in
            CommandLine.unsafeArgv[index].map { SystemPath.string(cString: $0) }
        }
    }

    /// - Throws: `ValidationError` for an option that takes any text and is followed by the name of an option: its value
    ///   was forgotten.
    static func checkForgottenValues(_ words: [String]) throws {
        for (option, value) in zip(words, words.dropFirst()) where texts.contains(option) && value.hasPrefix("-") {
            guard names(LyraCommand.self).contains(value) else { continue }
            throw ValidationError(
                "Missing value for '\(option)' (the text \(value) itself is written \(option)=\(value))")
        }
    }

    /// Options whose value may be any text, also one with a dash in front.
    private static let texts: Set<String> = ["--prompt", "--system", "--question", "--answer"]

    /// The names of all options of a command and its subcommands, as its help has them.
    private static func names(_ command: any ParsableCommand.Type) -> Set<String> {
        let text = LyraCommand.helpMessage(for: command)
        let words = text.split { !($0.isLetter || $0.isNumber || $0 == "-" || $0 == "_") }.map(String.init)
        return command.configuration.subcommands.reduce(into: Set(words.filter { $0.hasPrefix("-") && $0 != "-" })) {
            $0.formUnion(names($1))
        }
    }
}

/// Text that someone typed: what is not UTF-8 in it is replaced, as in text that is fed.
func typedText(_ argument: String) -> String {
    String(decoding: SystemPath.bytes(argument), as: UTF8.self)
}

/// Where a random sequence begins; a negative number is the 64-bit number with its bits.
struct Seed: ExpressibleByArgument {
    let value: UInt64

    init(_ value: UInt64) { self.value = value }

    init?(argument: String) {
        guard let value = UInt64(argument) ?? Int64(argument).map({ UInt64(bitPattern: $0) }) else { return nil }
        self.value = value
    }

    var defaultValueDescription: String { "\(value)" }
}
