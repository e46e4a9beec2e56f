import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Writes a checkpoint that is a changed copy of another, in the same layout and under the same names.
///
/// A file whose tensors do not change is linked, or copied if it cannot be; a file with new tensors is written anew.
/// The language model's files become shards of a limited size with an index. Towers, vocoder and adapters lie inside
/// the new checkpoint, wherever they were found. The directory appears when it is complete and opens as a checkpoint.
package struct ModelWriter {
    /// Default limit in bytes for a shard: that of the published checkpoints.
    package static let shardBytes = 5_000_000_000

    let source: String
    package let checkpoint: Checkpoint
    package let contents: ModelContents
    private let options: CheckpointOptions

    /// Opens the checkpoint that is copied.
    ///
    /// - Parameter options: where its parts are; `trainables` and `precision` have no effect
    /// - Throws: the errors of `Checkpoint.open`; `LyraError.unsupported` for a one-file model.
    package init(_ path: String, options: CheckpointOptions = CheckpointOptions()) throws {
        try FileSystem.checkPath(path)
        guard try !BuiltInModel.isName(path) && !FileSystem.isFile(path) else {
            throw LyraError(
                .unsupported,
                "\(path): a one-file model cannot be rewritten; use the directory that it was converted from, and "
                    + "convert the result")
        }
        var options = options
        (options.trainables, options.precision) = (nil, .exact)
        let loader = try CheckpointLoader(path, options)
        (source, self.options) = (path, options)
        checkpoint = try loader.load()
        contents = loader.contents
    }

    /// Tensors of a part under the loader's names; empty if the checkpoint lacks the part.
    package func tensors(_ part: ModelPart) -> [String: StoredTensor] {
        contents.tensors.first { $0.part == part }?.tensors ?? [:]
    }

    /// Writes the changed copy.
    ///
    /// - Parameters:
    ///   - path: a directory to create, or an empty one
    ///   - shardBytes: limit for a shard; a larger tensor has a shard of its own
    ///   - copies: whether unchanged files are copied instead of linked
    ///   - check: called between pieces of the work; throws to give up
    /// - Throws: `LyraError.argument` for a new tensor that does not fit; `.io` if something cannot be written, or
    ///   `path` is occupied; what `check` throws. Nothing remains at `path` after an error.
    package func write(
        _ changes: ModelChanges, to path: String, shardBytes: Int = ModelWriter.shardBytes, copies: Bool = false,
        check: @escaping () throws -> Void = {}
    ) throws -> CheckpointAssembler.Summary {
        let resolved = try resolve(changes)
        let directory = try OutputDirectory(path: path)
        do {
            let work = CheckpointAssembler.Work(directory: directory, copies: copies, check: check)
            var files = ModelFiles(model: self, changes: resolved, work: work, check: check)
            try files.placeAll(changes, shardBytes: max(shardBytes, 1))
            try verify(directory, check)
            try check()
            try directory.commit()
            return files.summary
        } catch {
            directory.discard()
            guard let error = error as? LyraError else { throw error }
            throw LyraError(error.code, directory.explaining(error.message))
        }
    }

    /// The checks of `write` that need no writing: for a training that should not find out at its end.
    ///
    /// - Throws: as `write`, apart from what only the writing shows, such as a full disk.
    package func checkWritable(_ changes: ModelChanges, to path: String) throws {
        let resolved = try resolve(changes)
        for tensor in contents.tensors.flatMap({ $0.tensors.values }) where resolved.concern(file: tensor.source) {
            try resolved.item(tensor, name: tensor.name).checkType()
        }
        // The temporary directory of the writing shows whether one can be made there.
        try OutputDirectory(path: path).discard()
    }

    /// The changes by file.
    ///
    /// - Throws: `LyraError.argument` for a new tensor that does not fit, or that no file of the copy can hold.
    private func resolve(_ changes: ModelChanges) throws -> FileChanges {
        let resolved = try FileChanges(changes, contents, source: source)
        let configuration = checkpoint.configuration
        for (part, name) in [
            (ModelPart.visionTower, configuration.visionTower), (.speechTower, configuration.speechTower),
        ] where name == LyraConfiguration.ownDirectory {
            guard let file = outsideFiles(part).first(where: { resolved.concern(file: $0) }) else { continue }
            throw LyraError(
                .argument,
                "\(file): a tower beside a plain Qwen2-VL is no part of it and cannot be changed with it; make a Lyra "
                    + "checkpoint of the two with 'lyra assemble'")
        }
        return resolved
    }

    /// Opens the new checkpoint, which must have the parts of the old one.
    private func verify(_ directory: OutputDirectory, _ check: @escaping () throws -> Void) throws {
        var options = CheckpointOptions()
        options.precision = .exact
        options.progress = { _, _ in try check() }
        let made = try Checkpoint.open(directory.temporary, options: options)
        if checkpoint.speechNetworks.isPresent { _ = try made.speechNetworks.get() }
        if checkpoint.visionNetworks.isPresent, !hasForeignVision { _ = try made.visionNetworks.get() }
        if checkpoint.soundNetworks.isPresent { _ = try made.soundNetworks.get() }
        if checkpoint.vocoder.isPresent { _ = try made.vocoder.get() }
    }

    /// The file of a vocoder that the checkpoint finds and, without a speech generator, does not open.
    func unusedVocoder() throws -> String? {
        checkpoint.generator == nil ? try LonePart.vocoder(of: source, options: options) : nil
    }

    /// Whether the vision tower was given by the caller for a checkpoint that names no place for it.
    var hasForeignVision: Bool {
        checkpoint.configuration.visionTower == LyraConfiguration.ownDirectory
            && !outsideFiles(.visionTower).isEmpty
    }

    /// The files of a part, other than those of the main part, sorted.
    func outsideFiles(_ part: ModelPart) -> [String] {
        let main = Set(tensors(.main).values.map { Array($0.source.utf8) })
        return Self.files(tensors(part).values).filter { !main.contains(Array($0.utf8)) }
    }

    /// The files that hold these tensors, sorted.
    static func files(_ tensors: some Sequence<StoredTensor>) -> [String] {
        // By bytes, because Unicode equality would match distinct names.
        let names = Dictionary(tensors.map { (Array($0.source.utf8), $0.source) }) { first, _ in first }
        return names.sorted { $0.key.lexicographicallyPrecedes($1.key) }.map(\.value)
    }
}
