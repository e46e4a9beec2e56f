import LyraBase
import LyraFormats

#if Nano
    import CNano
#endif

/// Models that are compiled into the library. Where a path of a model is expected, a text that begins with "lyra:" is
/// the name of such a model; a file of this name has a path, "./lyra:nano".
public enum BuiltInModel {
    /// Nano, a small model that the package trait of this name puts into the library.
    public static let nano = "lyra:nano"

    /// The names of the models that this build has.
    public static var names: [String] {
        #if Nano
            [nano]
        #else
            []
        #endif
    }

    /// Whether a path is the name of a built-in model, which need not exist.
    package static func isName(_ path: String) -> Bool { path.utf8.starts(with: "lyra:".utf8) }

    /// The model's GGUF file, which is in memory already.
    ///
    /// - Throws: `LyraError.missing` if this build does not have the model, `.argument` if no build has it.
    static func file(_ name: String) throws -> MappedFile {
        guard name.utf8.elementsEqual(nano.utf8) else {
            let known = names.isEmpty ? "none in this build" : names.joined(separator: ", ")
            throw LyraError(
                .argument,
                "\(shown(name, limit: 256)): there is no built-in model of this name (there is \(known)); for a "
                    + "file or directory of this name, write ./ before it")
        }
        #if Nano
            return unsafe MappedFile(
                name: nano, compiledIn: UnsafeRawBufferPointer(start: lyra_nano_bytes(), count: lyra_nano_size()))
        #else
            throw LyraError(
                .missing,
                "\(nano): this build of lyra does not have its built-in model; build lyra with its package trait Nano, "
                    + "as 'swift build' and 'bindings/c/build.sh' do, or name a checkpoint")
        #endif
    }
}
