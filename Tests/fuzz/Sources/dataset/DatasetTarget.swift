import FuzzSupport
import LyraBase
import LyraData
import LyraDatasets

/// Reads the input as a data set from its start to its end, and its items in any order: both must find the same. Then
/// reads it as the data commands do, which keep the bytes of its examples.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    FuzzInput(start, count).withFile { path in
        compare(path)
        try? readExamples(path)
    }
    return 0
}

private func compare(_ path: String) {
    let items = try? allItems(path), indexed = try? IndexedDataset(path: path)
    guard items?.count == indexed?.count else {
        fatalError("\(items?.count ?? -1) items from start to end, \(indexed?.count ?? -1) in any order")
    }
    for (index, item) in (items ?? []).enumerated().reversed() {
        do {
            guard let again = try indexed?.item(at: index), case .success(let item) = item, again == item else {
                fatalError("item \(index) differs")
            }
            use(item.answer)
            use(item.transcript)
        } catch {
            guard case .failure(let first) = item, first.message == (error as? LyraError)?.message else {
                fatalError("item \(index): \(error)")
            }
        }
    }
}

private func allItems(_ path: String) throws -> [Result<DatasetItem, LyraError>] {
    let reader = try DatasetReader(path: path)
    var items: [Result<DatasetItem, LyraError>] = []
    while let item = try reader.next() { items.append(item) }
    return items
}

private func readExamples(_ path: String) throws {
    try ExampleReader(path: path).forEach { item in
        use(item.line)
        for key in try item.keys().prefix(4) {
            use(try? item.texts(key))
            use(try item.setting(key, to: "\"\n"))
        }
    }
}
