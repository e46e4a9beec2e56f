import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Converts a model to one GGUF file, with its towers, projectors, adapters, vocoder and texts.
///
/// Tensors are read, rounded and written a few megabytes at a time, so that memory does not depend on the model's size.
/// A quantized model is the exception: opening it packs its weights in memory.
public struct ModelConverter {
    /// How much of a model is written.
    public enum Scope: String, Sendable, CaseIterable {
        /// Every part; `Checkpoint.open` opens the file.
        case whole
        /// The language model alone, as llama.cpp reads it.
        case language = "llm"
    }

    /// Statistics of a conversion.
    public struct Summary: Sendable {
        public var tensors: Int
        /// Bytes of the tensors before and after the conversion.
        public var bytesRead: Int
        public var bytesWritten: Int
        /// Number of tensors of each type in the file, the most frequent type first.
        public var types: [(type: ElementType, tensors: Int)]
        /// Names of the checkpoint's tensors that were left out because lyra does not use them.
        public var unused: [String]
        /// Quantized types that were converted to another type. The first rounding is not undone.
        public var roundedBefore: [ElementType]
    }

    private let plan: ConversionPlan
    /// Files that the output must not replace.
    private let inputs: Set<FileIdentity>

    /// Opens and checks the model, and chooses the type of every tensor.
    ///
    /// - Parameters:
    ///   - path: a checkpoint directory, or a one-file model, whose weights are then rounded a second time
    ///   - options: as for `Checkpoint.open`; a missing part is noted, and the file lacks that part
    /// - Throws: any error of `Checkpoint.open`; `LyraError.unsupported` for a tensor that cannot be stored.
    public init(path: String, options: CheckpointOptions, recipe: Recipe, scope: Scope = .whole) throws {
        let loader = try CheckpointLoader(path, options)
        let checkpoint = try loader.load()
        // A file with only a language model lacks the texts that a whole model needs.
        let scope = loader.holdsLanguageModelAlone ? .language : scope
        let name = SystemPath.printable(
            BuiltInModel.isName(path)
                ? path : try FileSystem.resolved(path).split(separator: "/").last.map(String.init) ?? path)
        // The output may replace the one-file model that it is made from, whose mapping outlives the replacement.
        let own = try !BuiltInModel.isName(path) && FileSystem.isFile(path) ? FileIdentity(path: path) : nil
        inputs = loader.contents.files.subtracting(own.map { [$0] } ?? [])
        plan = try ConversionPlan(loader.contents, checkpoint, recipe: recipe, scope: scope, name: name)
    }

    /// Elements of one piece: whole quantization blocks of every type, 16 MiB of floats.
    private static let pieceElements = 4 << 20

    /// Writes the file. An existing file at `path` is replaced once the new file is complete.
    ///
    /// - Parameter progress: receives the number of bytes read and their total; throw to abort
    /// - Throws: `LyraError.argument` if `path` is a file that the model is read from; `LyraError.io` if the disk has
    ///   no room, which is checked before the first tensor; any error of `progress`. No part of the file remains after
    ///   an error.
    public func write(to path: String, progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }) throws
        -> Summary
    {
        guard try !FileSystem.isDirectory(path) else {
            throw LyraError(.io, "\(path): is a directory; name a file in it, like \(path)/model.gguf")
        }
        if let target = try FileIdentity(path: path), inputs.contains(target) {
            throw LyraError(
                .argument, "\(path): the model is read from this file, which would be lost; name another file")
        }
        let total = plan.items.reduce(0) { $0.saturatingAdding($1.source.bytes.count) }
        var done = 0
        try progress(done, total)
        let writer = try GGUFWriter(
            path: path, metadata: plan.metadata,
            tensors: plan.items.map { TensorSpec(name: $0.name, type: $0.type, shape: $0.shape) })
        let scratch = try FloatStorage(count: Self.pieceElements)
        let output = try FloatStorage(count: Self.pieceElements)
        for item in plan.items {
            for start in stride(from: 0, to: item.source.count, by: Self.pieceElements) {
                let piece = start..<min(start + Self.pieceElements, item.source.count)
                try write(item, piece, to: writer, scratch: scratch, output: output)
                done += item.source.bytes(of: piece).count
                try progress(done, total)
            }
        }
        try writer.finish()
        return summary(read: total)
    }

    private func write(
        _ item: ConversionPlan.Item, _ piece: Range<Int>, to writer: GGUFWriter, scratch: FloatStorage,
        output: FloatStorage
    ) throws {
        let bytes = item.source.bytes(of: piece)
        if item.type == item.source.type {
            try writer.append(item.name, bytes)
        } else {
            try item.source.store(piece, as: item.type, to: output.base, scratch: scratch)
            let count = piece.count / item.type.blockElements * item.type.size
            try writer.append(item.name, UnsafeRawBufferPointer(start: output.base, count: count))
        }
        (item.source.owner as? MappedFile)?.dropResidentPages(of: bytes)
    }

    private func summary(read: Int) -> Summary {
        let changed = plan.items.filter { $0.source.type.blockElements > 1 && $0.source.type != $0.type }
        let before = Set(changed.map(\.source.type))
        let types = Dictionary(grouping: plan.items, by: \.type).map { ($0.key, $0.value.count) }
        return Summary(
            tensors: plan.items.count, bytesRead: read,
            bytesWritten: plan.items.reduce(0) {
                $0.saturatingAdding($1.source.count / $1.type.blockElements * $1.type.size)
            },
            types: types.sorted { ($1.1, $0.0.rawValue) < ($0.1, $1.0.rawValue) }, unused: plan.unused,
            roundedBefore: before.sorted { $0.rawValue < $1.rawValue })
    }
}
