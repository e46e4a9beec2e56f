import LyraBase
import FuzzSupport

@testable import LyraFormats

/// Opens the input as a torch.save file and as a bare pickle, and reads every tensor that it holds.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    FuzzInput(start, count).withFile { path in
        if let file = try? TorchFile(path: path) {
            read(file, under: [])
            read(file, under: ["generator"])
        } else if let file = try? MappedFile(path: path),
            var cursor = try? ByteCursor(file, 0..<file.bytes.count, section: "the pickle"),
            let (value, machine) = try? PickleMachine.read(&cursor)
        {
            // The storages that the pickle names are at the start of the file.
            let storages = Dictionary(
                machine.storages.compactMap { storage in
                    storage.type.byteCount(of: [storage.count]).flatMap {
                        $0 <= file.bytes.count ? (storage.key, 0..<$0) : nil
                    }
                }, uniquingKeysWith: { first, _ in first })
            var builder = TorchValueBuilder(
                machine: machine, file: file, storages: storages, pickleSize: cursor.position)
            if let root = try? builder.build(value) { use(root["generator"]) }
        }
    }
    return 0
}

private func read(_ file: TorchFile, under path: [String]) {
    guard let tensors = try? file.tensors(under: path) else { return }
    for tensor in tensors.values.prefix(64) { try? use(tensor.values().columns) }
}
