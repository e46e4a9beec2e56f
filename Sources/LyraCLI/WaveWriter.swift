import LyraFormats
import Lyra

/// A WAV file of 32-bit float mono samples, written as they arrive. The file appears under its name when it
/// is finished.
final class WaveWriter {
    private(set) var sampleRate = 0
    private(set) var samples = 0
    private let file: OutputFile
    private static let headerBytes = 58

    var path: String { file.path }
    var seconds: Double { sampleRate > 0 ? Double(samples) / Double(sampleRate) : 0 }

    /// - Throws: `LyraError.io` if the file cannot be created.
    init(path: String) throws {
        guard try !FileSystem.isDirectory(path) else { throw LyraError(.io, "\(path): a directory; name a file") }
        file = try OutputFile(path: path)
        try header().withUnsafeBytes { try file.write($0, at: 0) }
    }

    func append(_ new: [Float]) throws {
        guard samples + new.count <= (Int(UInt32.max) - Self.headerBytes) / 4 else {
            throw LyraError(.io, "\(path): a WAV file cannot hold more than 4 GiB")
        }
        try new.withUnsafeBytes { try file.write($0, at: Self.headerBytes + samples * 4) }
        samples += new.count
    }

    /// Writes the header and gives the file its name.
    func finish(sampleRate: Int) throws {
        self.sampleRate = sampleRate
        try header().withUnsafeBytes { try file.write($0, at: 0) }
        try file.commit()
    }

    /// RIFF with a fact chunk, as WAVE_FORMAT_IEEE_FLOAT requires.
    private func header() -> [UInt8] {
        func little(_ value: Int, _ bytes: Int) -> [UInt8] {
            (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
        }
        let dataBytes = samples * 4
        var bytes = Array("RIFF".utf8) + little(Self.headerBytes - 8 + dataBytes, 4) + Array("WAVEfmt ".utf8)
        bytes += little(18, 4) + little(3, 2) + little(1, 2) + little(sampleRate, 4) + little(sampleRate * 4, 4)
        bytes += little(4, 2) + little(32, 2) + little(0, 2)
        bytes += Array("fact".utf8) + little(4, 4) + little(samples, 4)
        return bytes + Array("data".utf8) + little(dataBytes, 4)
    }
}
