import LyraBase

/// Models in several GGUF files, as llama.cpp's `gguf-split` makes them: `name-00001-of-00003.gguf` and so on. The
/// first file has all metadata; each file has its own tensors. `shard` is one of these files; messages call it a file.
extension GGUFFile {
    /// The most files of one model.
    private static let maxShards = 4096

    private enum Key {
        /// The number of the file, from 0.
        static let number = "split.no"
        static let count = "split.count"
        static let tensors = "split.tensors.count"
    }

    /// Opens a file and, if it belongs to a split model, the model's other files. `file` may be any of them.
    ///
    /// - Parameter check: Called at intervals; throws to stop the work.
    /// - Returns: The tensors of all files, with the first file's metadata.
    /// - Throws: As `init(file:)`; `.missing` with the path of a missing file; `.format` for files that do not belong
    ///   together or have invalid split numbers.
    public static func opening(_ file: MappedFile, check: () throws -> Void = {}) throws -> GGUFFile {
        let opened = try GGUFFile(file: file, check: check)
        guard let count = try opened.int(Key.count), count > 1 else { return opened }
        let number = try opened.shardNumber(of: count)
        let names = try names(of: opened.path, number: number, count: count)
        var model: GGUFFile?
        for index in 0..<count {
            var shard = opened
            if index != number {
                let mapped: MappedFile
                do {
                    mapped = try MappedFile(path: names[index])
                } catch let error as LyraError where error.code == .missing {
                    throw LyraError(
                        .missing,
                        "\(names[index]): file \(index + 1) of \(count) of the model is missing; put it beside "
                            + file.path)
                }
                shard = try GGUFFile(file: mapped, check: check)
                guard try shard.int(Key.count) == count, try shard.shardNumber(of: count) == index else {
                    throw LyraError(
                        .format,
                        "\(shard.path): not file \(index + 1) of \(count) of the model; the files belong to different "
                            + "models")
                }
            }
            guard model != nil else {
                model = shard
                continue
            }
            try model?.add(tensorsOf: shard)
        }
        guard let model else { return opened }
        let total = try model.int(Key.tensors)
        guard total == model.names.count else {
            let stated = total.map(String.init) ?? "missing"
            throw LyraError(
                .format,
                "\(model.path): its \(count) files have \(model.names.count) tensors, but \(Key.tensors) is \(stated); "
                    + "the files belong to different models")
        }
        return model
    }

    private func shardNumber(of count: Int) throws -> Int {
        guard let number = try int(Key.number), (0..<count).contains(number), count <= Self.maxShards else {
            throw LyraError(
                .format,
                "\(path): \(Key.number) must be 0 to \(Key.count) - 1, and \(Key.count) at most \(Self.maxShards)")
        }
        return number
    }

    /// The paths of all files of the model: beside `path` or, if `path` is a link, beside its target.
    private static func names(of path: String, number: Int, count: Int) throws -> [String] {
        func ending(_ index: Int) -> String { "-\(fiveDigits(index + 1))-of-\(fiveDigits(count)).gguf" }
        let own = ending(number)
        let stems = [path, try FileSystem.resolved(path)].filter { $0.hasSuffix(own) }
            .map { String($0.dropLast(own.count)) }
        guard let first = stems.first else {
            throw LyraError(
                .format,
                "\(path): file \(number + 1) of a model in \(count) files; its name must end in \(own), so that lyra "
                    + "finds the other files")
        }
        return try (0..<count).map { index in
            let places = stems.map { $0 + ending(index) }
            return try places.first(where: { try FileSystem.isFile($0) }) ?? first + ending(index)
        }
    }

    private static func fiveDigits(_ number: Int) -> String {
        let digits = String(number)
        return String(repeating: "0", count: max(0, 5 - digits.count)) + digits
    }
}
