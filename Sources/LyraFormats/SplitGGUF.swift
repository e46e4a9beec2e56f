import LyraBase

/// Models in several GGUF files, as llama.cpp's `gguf-split` makes them: `name-00001-of-00003.gguf` and so on. The
/// first has all metadata, every part tensors of its own.
extension GGUFFile {
    /// The most parts of one model.
    private static let mostParts = 4096

    private enum Key {
        /// The part's number, from 0.
        static let number = "split.no"
        static let count = "split.count"
        static let tensors = "split.tensors.count"
    }

    /// Opens a file and, if it is a part of a model, all others. Any part will do.
    ///
    /// - Parameter check: Asked now and then; throws to give up.
    /// - Returns: All tensors, with the first part's metadata.
    /// - Throws: As `init(file:)`; `.missing`, naming it, for a part that is not there; `.format` for parts that do not
    ///   belong together or do not say which they are.
    public static func opening(_ file: MappedFile, check: () throws -> Void = {}) throws -> GGUFFile {
        let opened = try GGUFFile(file: file, check: check)
        guard let count = try opened.int(Key.count), count > 1 else { return opened }
        let number = try opened.partNumber(of: count)
        let names = try names(of: opened.path, number: number, count: count)
        var model: GGUFFile?
        for index in 0..<count {
            var part = opened
            if index != number {
                let mapped: MappedFile
                do {
                    mapped = try MappedFile(path: names[index])
                } catch let error as LyraError where error.code == .missing {
                    throw LyraError(
                        .missing,
                        "\(names[index]): part \(index + 1) of \(count) of the model is not there; put it beside "
                            + file.path)
                }
                part = try GGUFFile(file: mapped, check: check)
                guard try part.int(Key.count) == count, try part.partNumber(of: count) == index else {
                    throw LyraError(.format, "\(part.path): not part \(index + 1) of \(count) of the model")
                }
            }
            guard model != nil else {
                model = part
                continue
            }
            try model?.add(tensorsOf: part)
        }
        guard let model else { return opened }
        guard let total = try model.int(Key.tensors), total == model.names.count else {
            throw LyraError(
                .format,
                "\(model.path): its \(count) parts have \(model.names.count) tensors, which is not the number that "
                    + "\(Key.tensors) says; they are not of one model")
        }
        return model
    }

    private func partNumber(of count: Int) throws -> Int {
        guard let number = try int(Key.number), (0..<count).contains(number), count <= Self.mostParts else {
            throw LyraError(
                .format,
                "\(path): \(Key.number) and \(Key.count) do not say which part of how many (\(Self.mostParts) at "
                    + "most) it "
                    + "is")
        }
        return number
    }

    /// The paths of all parts, beside the one that was opened or, where that is a link, beside what it leads to.
    private static func names(of path: String, number: Int, count: Int) throws -> [String] {
        func ending(_ index: Int) -> String { "-\(fiveDigits(index + 1))-of-\(fiveDigits(count)).gguf" }
        let own = ending(number)
        let stems = [path, try FileSystem.resolved(path)].filter { $0.hasSuffix(own) }
            .map { String($0.dropLast(own.count)) }
        guard let first = stems.first else {
            throw LyraError(
                .format,
                "\(path): part \(number + 1) of a model in \(count) files; its name has to end in \(own), so that "
                    + "the others "
                    + "can be found")
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
