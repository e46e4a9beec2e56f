import FuzzSupport
import Glibc
import LyraTensor

@testable import LyraFormats

/// Opens the input as a GGUF file, reads every key as every type, and reads the tensors. A readable file is written
/// again, and the new file must have the same content.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    FuzzInput(start, count).withFile { path in
        guard let file = try? GGUFFile(path: path) else { return }
        for key in file.keys {
            use(try? file.string(key))
            use(try? file.int(key))
            use(try? file.double(key))
            use(try? file.bool(key))
            use(try? file.strings(key))
            use(try? file.ints(key))
            use(try? file.doubles(key))
        }
        for name in file.names {
            guard let tensor = file.tensor(name) else { fatalError("a tensor that is listed is not there") }
            try? use(tensor.values().columns)
            if let weight = try? Weight(tensor) { read(weight) }
        }
        rewrite(file)
    }
    return 0
}

private func read(_ weight: Weight) {
    _ = try? weight.gather([0, Int32(weight.outputs - 1)])
}

/// The path for writing the input again, in memory.
private let copyPath = "/dev/shm/lyra-fuzz-gguf-\(getpid())"

private func rewrite(_ file: GGUFFile) {
    // The writer accepts what the format's specification allows; the reader accepts more.
    let metadata = file.keys.compactMap { key in file.metadata[key].map { (key: key, value: $0) } }
    let tensors = file.names.compactMap { file.tensor($0) }
    let specs = tensors.map { TensorSpec(name: $0.name, type: $0.type, shape: $0.shape) }
    guard
        let writer = try? GGUFWriter(path: copyPath, metadata: metadata, tensors: specs, alignment: file.alignment)
    else {
        guard file.keys.contains(where: { $0.utf8.contains { $0 > 127 } }) else {
            fatalError("the file cannot be written again")
        }
        return
    }
    defer { unlink(copyPath) }
    do {
        for tensor in tensors { try writer.write(tensor.name, tensor.bytes) }
        try writer.finish()
        let copy = try GGUFFile(path: copyPath)
        guard copy.names == file.names, copy.keys.starts(with: file.keys) else {
            fatalError("names or keys have changed")
        }
        for tensor in tensors {
            guard let other = copy.tensor(tensor.name), other.type == tensor.type, other.shape == tensor.shape,
                other.bytes.elementsEqual(tensor.bytes)
            else { fatalError("a tensor has changed") }
        }
    } catch {
        fatalError("the rewritten file is refused: \(error)")
    }
}
