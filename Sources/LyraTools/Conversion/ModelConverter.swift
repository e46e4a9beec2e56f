import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Makes one GGUF file of a model and everything that belongs to it: towers, projectors, adapters, vocoder and texts.
///
/// Tensors are read, rounded and written a few megabytes at a time, so that memory does not depend on the model's size.
/// A quantized model is the exception: opening it packs its weights in memory.
public struct ModelConverter {
    /// What of a model is written.
    public enum Part: String, Sendable, CaseIterable {
        /// All of it: what `Checkpoint.open` opens.
        case whole
        /// The language model alone, as llama.cpp reads it.
        case language = "llm"
    }

    /// What a conversion did.
    public struct Summary: Sendable {
        public var tensors: Int
        /// Bytes of tensors before and after.
        public var bytesRead: Int
        public var bytesWritten: Int
        /// Tensors of each type in the file, the most frequent first.
        public var types: [(type: ElementType, tensors: Int)]
        /// Names of tensors of the checkpoint that lyra does not use, which were left out.
        public var unused: [String]
        /// Quantized types that were converted to another type: the first rounding is not undone.
        public var roundedBefore: [ElementType]
    }

    private let plan: ConversionPlan
    /// Files that a new one must not take the place of.
    private let inputs: Set<FileIdentity>

    /// Opens the model, which checks it, and decides on every tensor.
    ///
    /// - Parameters:
    ///   - path: a checkpoint directory, or a one-file model, whose numbers are then rounded a second time
    ///   - options: as for opening it; a part that is not found is noted, and the file lacks it
    /// - Throws: what `Checkpoint.open` throws; `LyraError.unsupported` for a tensor that cannot be stored.
    public init(path: String, options: CheckpointOptions, recipe: Recipe, part: Part = .whole) throws {
        let loader = try CheckpointLoader(path, options)
        let checkpoint = try loader.load()
        // A file with a language model alone has no texts that a whole one could be made of.
        let part = loader.holdsLanguageModelAlone ? .language : part
        let name = SystemPath.printable(
            try FileSystem.resolved(path).split(separator: "/").last.map(String.init) ?? path)
        // A one-file model may be replaced by what is made of it: its mapping stays when its name goes.
        let own = try FileSystem.isFile(path) ? FileIdentity(path: path) : nil
        inputs = loader.contents.files.subtracting(own.map { [$0] } ?? [])
        plan = try ConversionPlan(loader.contents, checkpoint, recipe: recipe, part: part, name: name)
    }

    /// Elements of one piece: whole blocks of every type, 16 MB of floats.
    private static let pieceElements = 4 << 20

    /// Writes the file; what was at `path` is replaced once all of it is there.
    ///
    /// - Parameter progress: told how many bytes of how many are read; throws to give up
    /// - Throws: `LyraError.argument` if `path` is a file that the model is read from; `LyraError.io` if the disk has
    ///   no room, which is checked before the first tensor; what `progress` throws. No part of the file remains after
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
        let total = plan.items.reduce(0) { $0 + $1.source.bytes.count }
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
            bytesWritten: plan.items.reduce(0) { $0 + $1.source.count / $1.type.blockElements * $1.type.size },
            types: types.sorted { ($1.1, $0.0.rawValue) < ($0.1, $1.0.rawValue) }, unused: plan.unused,
            roundedBefore: before.sorted { $0.rawValue < $1.rawValue })
    }
}
