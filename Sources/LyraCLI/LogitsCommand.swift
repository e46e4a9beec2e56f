import ArgumentParser
import Lyra
import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

struct LogitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "logits",
        abstract: "Writes the language model's scores after each of the given tokens.",
        discussion: """
            For comparison with other programs. The safetensors file holds logits [tokens, vocabulary], F32: row i has \
            the scores of the token that follows token i. Positions count from 0.
            """)

    @OptionGroup var source: ModelArguments

    @Option(help: ArgumentHelp("Token ids, separated by commas.", valueName: "ids"), transform: LogitsCommand.tokens)
    var tokens: [Int32]

    @Option(help: ArgumentHelp("none, or an adapter that 'lyra inspect' lists.", valueName: "name"))
    var adapter = "none"

    @Option(help: ArgumentHelp("The safetensors file to write.", valueName: "file"))
    var out: String

    private static func tokens(_ text: String) throws -> [Int32] {
        try text.split(separator: ",", omittingEmptySubsequences: false).map {
            guard let id = Int32($0) else { throw ValidationError("--tokens: \($0.debugDescription) is no token id") }
            return id
        }
    }

    func run() throws {
        Interrupt.watch()
        let notes = Notes(.held)
        let checkpoint = try source.open(notes: notes, check: Interrupt.check).checkpoint
        let decoder = checkpoint.decoder, index = checkpoint.adapterIndex(adapter)
        guard index != nil || adapter == "none" else {
            let names = checkpoint.adapters.map { shown($0) }.joined(separator: ", ")
            throw LyraError(
                .argument, "there is no adapter \(shown(adapter)); the model has \(names.isEmpty ? "none" : names)")
        }
        let sample = try BatchSample(
            embeddings: decoder.embed(tokens, adapter: index),
            positions: tokens.indices.map { Position(Int32(clamping: $0)) },
            isMedia: tokens.map { _ in false }, isQuery: tokens.map { _ in false })
        let hidden = try decoder([sample], adapter: index).hidden
        let logits = try decoder.logits(hidden, adapter: index)
        let writer = try SafetensorsWriter(
            path: out, tensors: [TensorSpec(name: "logits", type: .float32, shape: logits.shape)])
        try logits.withValues {
            try writer.write(
                "logits", UnsafeRawBufferPointer(start: $0, count: logits.count * MemoryLayout<Float>.stride))
        }
        try writer.finish()
    }
}
