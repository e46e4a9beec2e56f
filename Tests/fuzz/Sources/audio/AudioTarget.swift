import FuzzSupport
import LyraBase
import LyraMedia

/// Decodes the input as sound to mono at 16 kHz, at most the first minute.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    try? decode([UInt8](FuzzInput(start, count).bytes))
    return 0
}

private func decode(_ bytes: [UInt8]) throws {
    let stream = try MonoAudioStream(
        AudioDecoder.open(reader: MemoryReader(copying: bytes), name: "audio"), sampleRate: 16_000)
    var samples = [Float](repeating: 0, count: 16_000)
    for _ in 0..<60 {
        let count = try samples.withUnsafeMutableBufferPointer { try stream.read(into: $0) }
        guard samples[..<count].allSatisfy(\.isFinite) else { fatalError("a sample is not finite") }
        if count == 0 { return }
    }
}
