import LyraBase
import LyraFormats

/// Reads items of a file in LLaVA's layout: a JSON list of objects, or one object on each line.
struct ItemReader: Sendable {
    /// The most bytes of an item. Published items have a few thousand.
    static let sizeLimit = 16 << 20

    let file: DatasetBytes
    let folders: MediaFolders
    private let directory: String

    init(path: String, folders: MediaFolders) throws {
        file = try DatasetBytes(path: path)
        self.folders = folders
        directory = FileSystem.parent(of: path)
    }

    func place(of index: Int, _ span: ItemSpan) -> String { "\(file.path), line \(span.line), item \(index + 1)" }

    /// - Throws: `LyraError.format`, with the place, if the item is not what it should be; `.io` if it cannot be read.
    func item(at index: Int, _ span: ItemSpan) throws -> DatasetItem {
        let place = place(of: index, span)
        guard span.length <= Self.sizeLimit else {
            throw LyraError(
                .format, "\(place): the item has \(span.length) bytes; at most \(Self.sizeLimit) are allowed")
        }
        let bytes = try file.read(at: span.offset, count: Int(span.length))
        guard bytes.count == span.length else {
            throw LyraError(.io, "\(place): the file has become shorter; do not write to it while it is read")
        }
        let stored = try bytes.withUnsafeBytes { try JSONText.decode(StoredItem.self, from: $0, source: place) }
        return try stored.item(at: index, line: span.line, place: place, folders, directory: directory)
    }
}

/// Reads a data set from its start to its end, one item at a time; one item is in memory.
///
/// The layout is LLaVA's: a JSON list of objects, or one object on each line (JSON lines). An object can have
/// `conversations`, a list of `{"from": "human" or "gpt", "value": text}`, and `id`, `image`, `video`,
/// `speech` or `long_speech` (a path or a list of paths), `speech_asr` (the words of the recordings), `tgt_unit`
/// or `tgt_units` (speech units: "<12><7>", or a list of numbers), `tgt_speech` (a recording that says them), `answers`
/// or `answer`, and `kind` or `category`. Other keys are ignored.
///
/// An object that labels what a tower makes of its medium, for `TowerObjective` of LyraTraining, has `row_labels` or
/// `sequence_labels` instead of, or beside, the conversation: `{"phone": [3, 3, [7, 12]], …}`, where a pair is a
/// label and a number of rows. An object for a vocoder's training needs only units and `tgt_speech`.
///
///     let reader = try DatasetReader(path: "train.json")
///     while let next = try reader.next() {
///         switch next {
///         case .success(let item): …
///         case .failure(let error): …  // a bad item; the items after it can be read
///         }
///     }
///
/// Not for concurrent use.
public final class DatasetReader {
    private let items: ItemReader
    private var scanner: ItemScanner
    private var count = 0

    /// - Parameters:
    ///   - path: a regular file
    ///   - folders: the folders of relative media paths
    /// - Throws: `LyraError` if the file cannot be opened, or is no data set.
    public init(path: String, folders: MediaFolders = MediaFolders()) throws {
        items = try ItemReader(path: path, folders: folders)
        scanner = try ItemScanner(items.file)
    }

    /// The next item, or why it is bad; nil at the end. Reading can go on after a bad item.
    ///
    /// - Throws: `LyraError` if the file cannot be read, or is damaged so that no more items can be found.
    public func next() throws -> Result<DatasetItem, LyraError>? {
        guard let span = try scanner.next() else { return nil }
        defer { count += 1 }
        do {
            return .success(try items.item(at: count, span))
        } catch let error as LyraError where error.code == .format {
            return .failure(error)
        }
    }
}

/// A data set whose items can be read in any order: the place of each item is in memory (24 bytes), the items are not.
///
/// Several threads can read items.
public final class IndexedDataset: Sendable {
    private let items: ItemReader
    private let spans: GrowingBuffer<ItemSpan>

    /// Finds all items in one pass over the file. Does not read what is in them.
    ///
    /// - Parameters:
    ///   - path: a regular file in the layout that `DatasetReader` reads
    ///   - folders: the folders of relative media paths
    ///   - check: called for every 1,024 items; throws to abort
    /// - Throws: `LyraError` if the file cannot be read, is no data set or is damaged; `.memory` if there is no room.
    public init(path: String, folders: MediaFolders = MediaFolders(), check: () throws -> Void = {}) throws {
        items = try ItemReader(path: path, folders: folders)
        spans = GrowingBuffer()
        var scanner = try ItemScanner(items.file)
        while let span = try scanner.next() {
            try spans.append(span)
            if spans.count % 1024 == 0 { try check() }
        }
    }

    /// The data set's file.
    public var path: String { items.file.path }

    /// Number of items, bad ones too.
    public var count: Int { spans.count }

    /// The file, the line and the number of an item, with which errors about it begin.
    public func place(of index: Int) -> String {
        guard spans.indices.contains(index) else { return "\(path), item \(index.saturatingAdding(1))" }
        return items.place(of: index, spans[index])
    }

    /// Reads an item.
    ///
    /// - Parameter index: of the item in the file, counted from 0
    /// - Throws: `LyraError.format`, with the file, the line and the item, if the item is bad; `.io` if the file cannot
    ///   be read; `.argument` if there is no such item.
    public func item(at index: Int) throws -> DatasetItem {
        guard spans.indices.contains(index) else {
            throw LyraError(.argument, "\(path): there is no item \(index); there are \(spans.count)")
        }
        return try items.item(at: index, spans[index])
    }
}
