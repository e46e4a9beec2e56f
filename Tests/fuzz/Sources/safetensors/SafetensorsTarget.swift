import FuzzSupport
import LyraFormats
import LyraTensor

/// Opens the input as a safetensors file, examines all tensors, and reads the first ones.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    try? FuzzInput(start, count).withFile { path in
        let file = try Safetensors(path: path)
        for name in file.names.prefix(64) {
            guard let tensor = file.tensor(name) else { fatalError("a tensor that is listed is not there") }
            try? use(tensor.values().columns)
            if let weight = try? Weight(tensor) { _ = try? weight.gather([0, Int32(weight.outputs - 1)]) }
        }
    }
    return 0
}
