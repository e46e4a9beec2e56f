import LyraBase
import LyraFormats

/// Common Voice's folder of one language (commonvoice.mozilla.org): tables such as validated.tsv with the columns path
/// and sentence among others, and recordings in clips. Fields have no quotes around them.
package enum CommonVoice {
    /// - Parameters:
    ///   - folder: of one language
    ///   - split: the table's name without .tsv: train, dev, test, validated, other
    ///   - check: called at times; throws to stop
    /// - Throws: `LyraError.missing` if there is no such table, which names those that there are; `.format` if the
    ///   table lacks a column.
    package static func utterances(in folder: String, split: String, check: () throws -> Void) throws -> [Utterance] {
        let table = FileSystem.join(folder, split + ".tsv")
        guard try FileSystem.isFile(table) else {
            let tables = try FileSystem.entries(of: folder).filter { $0.hasSuffix(".tsv") }
            let choice = tables.isEmpty ? "" : "; there are \(tables.prefix(16).joined(separator: ", "))"
            throw LyraError(.missing, "\(table): no such file; DIR is the folder of a language\(choice)")
        }
        var found: [Utterance] = []
        var columns: Columns?
        try TextFileLines(path: table).forEach { line, number in
            if number % 4096 == 0 { try check() }
            guard let known = columns else { return columns = try Columns(header: line, table) }
            guard !line.isEmpty else { return }
            found.append(known.utterance(line, folder: folder, place: "\(table), line \(number)"))
        }
        guard columns != nil else { throw LyraError(.format, "\(table): empty") }
        return found
    }

    private struct Columns {
        let path: Int
        let sentence: Int

        init(header: Slice<UnsafeRawBufferPointer>, _ table: String) throws {
            let names = Columns.fields(header).map { String(decoding: $0, as: UTF8.self) }
            guard let path = names.firstIndex(of: "path"), let sentence = names.firstIndex(of: "sentence") else {
                throw LyraError(
                    .format, "\(table): not a table of Common Voice: its first line lacks the column path or sentence")
            }
            (self.path, self.sentence) = (path, sentence)
        }

        static func fields(_ line: Slice<UnsafeRawBufferPointer>) -> [Slice<UnsafeRawBufferPointer>] {
            line.split(separator: UInt8(ascii: "\t"), omittingEmptySubsequences: false)
        }

        func utterance(_ line: Slice<UnsafeRawBufferPointer>, folder: String, place: String) -> Utterance {
            let fields = Columns.fields(line)
            guard fields.count > max(path, sentence), !fields[path].isEmpty else {
                return Utterance(id: place, path: place, text: .missing(reason: "\(place): too few columns"))
            }
            let name = SystemPath.string(fields[path])
            let file = FileSystem.join(FileSystem.join(folder, "clips"), name)
            guard let text = trimmedText(fields[sentence]), !text.isEmpty else {
                return Utterance(
                    id: name, path: file, text: .missing(reason: "\(place): the sentence is empty or not UTF-8"))
            }
            let id = name.hasSuffix(".mp3") ? String(name.unicodeScalars.dropLast(4)) : name
            return Utterance(id: id, path: file, text: .known(text))
        }
    }
}
