import ArgumentParser
import Lyra
import LyraModel

/// The model of a command that names none: lyra:nano, if this build has it.
enum DefaultModel {
    static let name = BuiltInModel.nano

    /// The end of a sentence in the help of an option or argument.
    static var help: String { Model.hasNano ? "; \(name) is the model inside lyra (default: \(name))" : "" }

    /// - Throws: `ValidationError` if this build has no model.
    static func validate(missing argument: String) throws {
        guard !Model.hasNano else { return }
        throw ValidationError(
            "Missing expected argument '\(argument)'. This build of lyra has no default model; a build with the "
                + "package trait Nano, as bindings/c/build.sh makes it, has \(name).")
    }

    /// Tells the user which model is used.
    static func announce(missing argument: String) {
        printError("lyra: no \(argument): using \(name), a small model to try lyra with")
    }
}
