import CSndfile
import LyraBase
import Testing

@testable import LyraMedia

/// Damaged files and readers with false answers give samples or a LyraError, and no endless loop.
@Suite struct DamagedAudioTests {
    /// More samples than any case holds. Flips in a header may change channels and rates, but add no samples.
    private static let mostSamples = 4_000_000

    private func survives(_ bytes: [UInt8]) throws {
        _ = try lyraError {
            let stream = try MonoAudioStream(try AudioDecoder.open(bytes: bytes, name: "damaged"), sampleRate: 16_000)
            var buffer = [Float](repeating: 0, count: 30_000)
            var total = 0
            while total < Self.mostSamples {
                let count = try buffer.withUnsafeMutableBufferPointer { try stream.read(into: $0) }
                if count == 0 { break }
                #expect(buffer[..<count].allSatisfy { $0.isFinite })
                total += count
            }
        }
    }

    private func files() throws -> [[UInt8]] {
        let sound = noise(6_000, seed: 9)
        let formats: [Int] = [
            SF_FORMAT_WAV | SF_FORMAT_PCM_16, SF_FORMAT_WAV | SF_FORMAT_MS_ADPCM,
            SF_FORMAT_FLAC | SF_FORMAT_PCM_16, SF_FORMAT_OGG | SF_FORMAT_VORBIS,
            SF_FORMAT_OGG | SF_FORMAT_OPUS,
        ]
        return try [floatWAV(sound), Array(fixture("hi.mp3")[..<20_000])]
            + formats.compactMap { try soundFile(sound, format: $0, sampleRate: 24_000) }
    }

    @Test func filesTruncatedAnywhereGiveSamplesOrAnError() throws {
        var generator = SeededGenerator(state: 11)
        for file in try files() {
            for cut in 0..<50 {
                // Half of the cuts are in the headers.
                let end = Int.random(in: 0..<(cut % 2 == 0 ? min(200, file.count) : file.count), using: &generator)
                try survives(Array(file[..<end]))
            }
        }
    }

    @Test func filesWithFlippedBitsGiveSamplesOrAnError() throws {
        var generator = SeededGenerator(state: 12)
        for file in try files() {
            for flip in 0..<200 {
                var bytes = file
                let place = Int.random(in: 0..<(flip % 2 == 0 ? min(120, file.count) : file.count), using: &generator)
                bytes[place] ^= UInt8.random(in: 1...255, using: &generator)
                try survives(bytes)
            }
        }
    }

    @Test func randomBytesGiveSamplesOrAnError() throws {
        var generator = SeededGenerator(state: 13)
        for magic in [
            "RIFF\u{10}\u{20}\u{0}\u{0}WAVE", "fLaC", "OggS", "ID3", "FORM", "caff", "riff", ".snd", "\u{7f}", "",
        ] {
            for _ in 0..<20 {
                let rest = (0..<2_000).map { _ in UInt8.random(in: 0...255, using: &generator) }
                try survives(Array(magic.utf8) + rest)
            }
        }
    }

    /// libsndfile counts the bytes of a list's chunks in 32 bits: a chunk of 2³² - 8 bytes, with its head of 8, adds 0.
    @Test(arguments: [UInt8(0xf7), 0xf8, 0xff]) func aListWithAChunkOf4GigabytesIsSkipped(_ low: UInt8) throws {
        let sound = noise(500, seed: 14)
        let part = Array("INFOabcd".utf8) + [low, 0xff, 0xff, 0xff] + [UInt8](repeating: 1, count: 18)
        let decoder = try SndfileDecoder(bytes: floatWAV(sound, list: part))
        #expect(try readAll(decoder) == sound)
    }

    /// Only chunk markers are patched; samples whose bytes spell "LIST" stay.
    @Test func samplesThatSpellListStayUnchanged() throws {
        let sound = noise(500, seed: 15)
        let wav = floatWAV(sound, list: Array("INFOISFT".utf8) + [4, 0, 0, 0] + Array("lyra".utf8))
        #expect(try readAll(SndfileDecoder(bytes: wav)) == sound)
        // As 16-bit samples, "LI" and "ST" are ordinary numbers; libsndfile writes 1 as 32,767 and reads 32,768 as 1.
        let numbers = (0..<200).map { Float([0x494c, 0x5453][$0 % 2]) }
        let file = try #require(
            try soundFile(numbers.map { $0 / 32_767 }, format: SF_FORMAT_WAV | SF_FORMAT_PCM_16))
        #expect(file.suffix(8).elementsEqual("LISTLIST".utf8))
        #expect(try readAll(SndfileDecoder(bytes: file)) == numbers.map { $0 / 32_768 })
    }
}

/// A reader whose answers and failures a test sets.
private final class ScriptedReader: ByteReader {
    struct Broken: Error {}

    let bytes: [UInt8]
    var offset = 0
    var statedSize: Int64?
    /// At most this many bytes a read.
    var most = Int.max
    var failsAt = Int.max
    var failsToSeek = false
    /// Returned as the number of bytes read, whatever was read.
    var statedCount: Int?

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var size: Int64 { statedSize ?? Int64(bytes.count) }

    func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
        if offset >= failsAt { throw Broken() }
        let count = max(0, min(buffer.count, bytes.count - offset, most))
        if count > 0 { buffer.copyBytes(from: bytes[offset..<offset + count]) }
        offset += count
        return statedCount ?? count
    }

    func seek(to offset: Int64) throws {
        if failsToSeek { throw Broken() }
        self.offset = Int(min(offset, Int64(bytes.count)))
    }
}

@Suite struct ByteReaderTests {
    private let samples = noise(50_000, seed: 21)

    @Test(arguments: [1, 3, 1000]) func shortReadsGiveTheSameSamples(most: Int) throws {
        let reader = ScriptedReader(floatWAV(samples))
        reader.most = most
        #expect(try readAll(try SndfileDecoder(reader: reader, name: "slow")) == samples)
    }

    @Test(arguments: [Int64.max, 1 << 40, 200_045]) func aSizeThatIsTooLargeGivesTheSameSamples(size: Int64) throws {
        let reader = ScriptedReader(floatWAV(samples))
        reader.statedSize = size
        #expect(try readAll(try SndfileDecoder(reader: reader, name: "boastful")) == samples)
    }

    @Test func aSizeThatIsTooSmallGivesSamplesOrAnError() throws {
        for size: Int64 in [1, 12, 43, 44, 1_000, 100_000] {
            let reader = ScriptedReader(floatWAV(samples))
            reader.statedSize = size
            _ = try lyraError {
                let read = try readAll(try SndfileDecoder(reader: reader, name: "modest"))
                #expect(read == Array(samples[..<read.count]))
            }
        }
    }

    @Test func anImpossibleSizeIsAnError() throws {
        for (size, code) in [(Int64(-1), LyraError.Code.io), (.min, .io), (0, .format)] {
            let reader = ScriptedReader(floatWAV(samples))
            reader.statedSize = size
            #expect(try lyraError { _ = try SndfileDecoder(reader: reader, name: "odd") }?.code == code)
        }
    }

    @Test(arguments: [0, 100, 100_000]) func aReadersErrorIsAnErrorThatNamesTheFile(at place: Int) throws {
        let reader = ScriptedReader(floatWAV(samples))
        reader.failsAt = place
        let error = try #require(try lyraError { _ = try readAll(try SndfileDecoder(reader: reader, name: "torn")) })
        #expect(error.code == .io)
        #expect(error.message.hasPrefix("torn: reading at byte"))
    }

    @Test func aReaderThatCannotSeekOrCountIsAnError() throws {
        let stuck = ScriptedReader(floatWAV(samples))
        stuck.failsToSeek = true
        #expect(try lyraError { _ = try readAll(try SndfileDecoder(reader: stuck, name: "stuck")) }?.code == .io)
        for count in [-1, .min, .max, 1 << 20] {
            let liar = ScriptedReader(floatWAV(samples))
            liar.statedCount = count
            #expect(try lyraError { _ = try readAll(try SndfileDecoder(reader: liar, name: "liar")) }?.code == .io)
        }
    }
}
