import LyraBase
import LyraFormats
import LyraMedia

/// The recordings of a folder, concatenated in the order of their names and repeated to any length, with another
/// recording, the needle, among them.
///
/// The haystack is streamed: only a buffer of one recording is in memory.
package struct Haystack {
    private let files: [String]
    private let needle: String
    package let sampleRate: Int
    /// Length of the needle in samples, at the haystack's rate.
    package let needleSamples: Int
    /// Names of the files in the folder that are not audio.
    package let skipped: [String]

    /// - Parameter sampleRate: rate of the haystack in Hz
    /// - Throws: `LyraError` if there are no recordings, or the needle cannot be read.
    package init(folder: String, needle: String, sampleRate: Int) throws {
        guard try FileSystem.isDirectory(folder) else { throw LyraError(.missing, "\(folder): no such directory") }
        var files: [String] = [], skipped: [String] = []
        for name in try FileSystem.entries(of: folder) {
            let path = FileSystem.join(folder, name)
            guard try FileSystem.isFile(path) else { continue }
            do {
                _ = try AudioDecoder.open(path: path)
                files.append(path)
            } catch let error as LyraError where [.format, .missing].contains(error.code) {
                skipped.append(name)
            }
        }
        guard !files.isEmpty else { throw LyraError(.missing, "\(folder): no recordings that lyra can decode") }
        (self.files, self.needle, self.sampleRate, self.skipped) = (files, needle, sampleRate, skipped)
        needleSamples = try Self.count(needle, sampleRate)
        guard needleSamples > 0 else { throw LyraError(.format, "\(needle): has no samples") }
    }

    private static func count(_ path: String, _ sampleRate: Int) throws -> Int {
        let stream = try MonoAudioStream(AudioDecoder.open(path: path), sampleRate: sampleRate)
        var buffer = [Float](repeating: 0, count: 1 << 14)
        while try buffer.withUnsafeMutableBufferPointer({ try stream.read(into: $0) }) > 0 {}
        return Int(stream.samplesRead)
    }

    /// A haystack.
    ///
    /// - Parameters:
    ///   - samples: length of the haystack, including the needle
    ///   - depth: position of the needle: 0 at the beginning, 1 at the end
    /// - Throws: `LyraError.argument` if the needle does not fit.
    package func source(samples: Int, depth: Double) throws -> any SampleSource {
        guard samples >= needleSamples else {
            let (have, need) = (Double(samples) / Double(sampleRate), Double(needleSamples) / Double(sampleRate))
            throw LyraError(.argument, "a haystack of \(have) s is shorter than its needle of \(need) s")
        }
        let before = Int((Double(samples - needleSamples) * min(max(depth, 0), 1)).rounded())
        let hay = RepeatedFiles(files, sampleRate: sampleRate)
        let needle = RepeatedFiles([needle], sampleRate: sampleRate)
        return JoinedPieces(
            [(hay, before), (needle, needleSamples), (hay, samples - needleSamples - before)], sampleRate: sampleRate)
    }
}

/// Reads files one after another, and starts over after the last.
private final class RepeatedFiles {
    private let files: [String]
    private let sampleRate: Int
    private var next = 0
    private var stream: MonoAudioStream?
    /// Samples since the first file was opened. A round without samples is an error: it would repeat forever.
    private var samplesInRound = 0

    init(_ files: [String], sampleRate: Int) { (self.files, self.sampleRate) = (files, sampleRate) }

    func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        while true {
            if let stream {
                let count = try stream.read(into: buffer)
                samplesInRound += count
                if count > 0 { return count }
            }
            if next == files.count {
                guard samplesInRound > 0 else { throw LyraError(.format, "\(files[0]): has no samples") }
                (next, samplesInRound) = (0, 0)
            }
            stream = try MonoAudioStream(AudioDecoder.open(path: files[next]), sampleRate: sampleRate)
            next += 1
        }
    }
}

/// Concatenates pieces: a number of samples from each source.
private final class JoinedPieces: SampleSource {
    let name = "haystack"
    let sampleRate: Int
    private var pieces: [(files: RepeatedFiles, samples: Int)]

    init(_ pieces: [(RepeatedFiles, Int)], sampleRate: Int) {
        self.pieces = pieces.map { (files: $0.0, samples: $0.1) }.filter { $0.samples > 0 }
        self.sampleRate = sampleRate
    }

    var isAtEnd: Bool { pieces.isEmpty }

    func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        var filled = 0
        while filled < buffer.count, let piece = pieces.first {
            let end = min(buffer.count, filled + piece.samples)
            let count = try piece.files.read(into: UnsafeMutableBufferPointer(rebasing: buffer[filled..<end]))
            filled += count
            pieces[0].samples -= count
            if pieces[0].samples == 0 { pieces.removeFirst() }
        }
        return filled
    }
}
