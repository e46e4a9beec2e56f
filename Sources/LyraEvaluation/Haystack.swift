import LyraBase
import LyraFormats
import LyraMedia

/// The recordings of a folder, one after another in the order of their names and again from the first, as long as
/// wanted. A needle, another recording, stands in it somewhere.
///
/// Nothing but a block of one recording is in memory, however long the haystack.
package struct Haystack {
    private let files: [String]
    private let needle: String
    package let sampleRate: Int
    /// Samples of the needle at the haystack's rate.
    package let needleSamples: Int
    /// Names of what lies in the folder and is no audio.
    package let skipped: [String]

    /// - Parameter sampleRate: of what is read, in Hz
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
        guard needleSamples > 0 else { throw LyraError(.format, "\(needle): has no sound in it") }
    }

    private static func count(_ path: String, _ sampleRate: Int) throws -> Int {
        let stream = try MonoAudioStream(AudioDecoder.open(path: path), sampleRate: sampleRate)
        var block = [Float](repeating: 0, count: 1 << 14)
        while try block.withUnsafeMutableBufferPointer({ try stream.read(into: $0) }) > 0 {}
        return Int(stream.samplesRead)
    }

    /// A haystack of so many samples, the needle's among them.
    ///
    /// - Parameter depth: 0 has the needle at the beginning, 1 at the end.
    /// - Throws: `LyraError.argument` if the needle does not fit.
    package func source(samples: Int, depth: Double) throws -> any SampleSource {
        guard samples >= needleSamples else {
            let (have, need) = (Double(samples) / Double(sampleRate), Double(needleSamples) / Double(sampleRate))
            throw LyraError(.argument, "a haystack of \(have) s is shorter than its needle of \(need) s")
        }
        let before = Int((Double(samples - needleSamples) * min(max(depth, 0), 1)).rounded())
        let hay = RepeatedFiles(files, sampleRate: sampleRate)
        let clip = RepeatedFiles([needle], sampleRate: sampleRate)
        return JoinedPieces(
            [(hay, before), (clip, needleSamples), (hay, samples - needleSamples - before)], sampleRate: sampleRate)
    }
}

/// Files read one after another, again from the first when all are read.
private final class RepeatedFiles {
    private let files: [String]
    private let sampleRate: Int
    private var next = 0
    private var stream: MonoAudioStream?
    /// Samples since the first file was opened; a whole round without any would go on forever.
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
                guard samplesInRound > 0 else { throw LyraError(.format, "\(files[0]): has no sound in it") }
                (next, samplesInRound) = (0, 0)
            }
            stream = try MonoAudioStream(AudioDecoder.open(path: files[next]), sampleRate: sampleRate)
            next += 1
        }
    }
}

/// So many samples of one, then so many of the next, …
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
