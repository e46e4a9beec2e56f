import CSoundWriter
import Foundation

/// The bytes of a sound file that libsndfile wrote, or nil if the installed libsndfile cannot write the format.
func soundFile(_ samples: [Float], format: Int, sampleRate: Int = 16_000, channels: Int = 1) throws -> [UInt8]? {
    let path = FileManager.default.temporaryDirectory.appending(path: "lyra-\(UUID().uuidString)").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let isWritten = write_sound_file(
        path, samples, samples.count / channels, Int32(channels), Int32(sampleRate), Int32(format))
    guard isWritten != 0 else { return nil }
    return try [UInt8](Data(contentsOf: URL(filePath: path)))
}

/// A WAV of 32-bit floats with exactly these bits, also NaN and infinity.
/// - Parameter list: the content of a "LIST" chunk before the samples, of even length; empty for no chunk
func floatWAV(_ samples: [Float], sampleRate: Int = 16_000, channels: Int = 1, list: [UInt8] = []) -> [UInt8] {
    func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value.littleEndian) { Array($0) } }
    let size = UInt32(samples.count * 4)
    let listBytes = list.isEmpty ? [] : Array("LIST".utf8) + little(UInt32(list.count)) + list
    var bytes = Array("RIFF".utf8) + little(36 + UInt32(listBytes.count) + size)
    bytes += Array("WAVEfmt ".utf8) + little(UInt32(16))
    bytes += little(UInt16(3)) + little(UInt16(channels)) + little(UInt32(sampleRate))
    bytes += little(UInt32(sampleRate * channels * 4)) + little(UInt16(channels * 4)) + little(UInt16(32))
    bytes += listBytes + Array("data".utf8) + little(size)
    for sample in samples { bytes += little(sample.bitPattern) }
    return bytes
}
