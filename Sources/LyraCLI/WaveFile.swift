import Glibc
import Lyra

/// A WAV file of 32-bit float mono samples, written as they come.
///
/// It is written under a temporary name beside `path` and gets its own when finished, so that no half file is left.
final class WaveFile {
    let path: String
    private(set) var sampleRate = 0
    private(set) var samples = 0
    private let temporary: String
    private var descriptor: Int32 = -1
    private var isFinished = false
    private static let headerBytes = 58

    var seconds: Double { sampleRate > 0 ? Double(samples) / Double(sampleRate) : 0 }

    /// - Throws: `LyraError.io` if the file cannot be made.
    init(path: String) throws {
        self.path = path
        temporary = path + ".part\(getpid())"
        descriptor = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0o666)
        guard descriptor >= 0 else { throw failure("cannot be written") }
        try header().withUnsafeBytes(put)
    }

    deinit {
        if descriptor >= 0 { close(descriptor) }
        if !isFinished { unlink(temporary) }
    }

    func append(_ new: [Float]) throws {
        guard samples + new.count <= (Int(UInt32.max) - Self.headerBytes) / 4 else {
            throw LyraError(.io, "\(path): a WAV file cannot hold more than 4 GiB")
        }
        try new.withUnsafeBytes(put)
        samples += new.count
    }

    /// Writes the header and gives the file its name.
    func finish(sampleRate: Int) throws {
        self.sampleRate = sampleRate
        guard lseek(descriptor, 0, SEEK_SET) == 0 else { throw failure("cannot be written") }
        try header().withUnsafeBytes(put)
        let closed = close(descriptor)
        descriptor = -1
        guard closed == 0, rename(temporary, path) == 0 else { throw failure("cannot be written") }
        isFinished = true
    }

    /// RIFF with a fact chunk, as WAVE_FORMAT_IEEE_FLOAT asks for.
    private func header() -> [UInt8] {
        func little(_ value: Int, _ bytes: Int) -> [UInt8] { (0..<bytes).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) } }
        let dataBytes = samples * 4
        var bytes = Array("RIFF".utf8) + little(Self.headerBytes - 8 + dataBytes, 4) + Array("WAVEfmt ".utf8)
        bytes += little(18, 4) + little(3, 2) + little(1, 2) + little(sampleRate, 4) + little(sampleRate * 4, 4)
        bytes += little(4, 2) + little(32, 2) + little(0, 2)
        bytes += Array("fact".utf8) + little(4, 4) + little(samples, 4)
        return bytes + Array("data".utf8) + little(dataBytes, 4)
    }

    private func put(_ bytes: UnsafeRawBufferPointer) throws {
        var rest = bytes
        while let base = rest.baseAddress, !rest.isEmpty {
            let count = Glibc.write(descriptor, base, rest.count)
            if count < 0 && errno == EINTR { continue }
            guard count > 0 else { throw failure("cannot be written") }
            rest = UnsafeRawBufferPointer(rebasing: rest[count...])
        }
    }

    private func failure(_ what: String) -> LyraError {
        LyraError(.io, "\(path): \(what): \(String(cString: strerror(errno)))")
    }
}
