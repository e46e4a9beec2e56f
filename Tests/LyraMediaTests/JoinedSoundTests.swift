import LyraBase
import Foundation
import Testing

@testable import LyraMedia

/// Recordings that were concatenated with `cat` are decoded to the end, at the rate of the first. They are compared
/// with what the ffmpeg command decodes from each.
@Suite struct JoinedSoundTests {
    private let maker: MediaMaker
    private let known = Known()

    private final class Known { var samples: [String: [Float]] = [:] }

    init() throws {
        maker = try MediaMaker()
        try maker.glides("a.wav", rate: 16_000, seed: 1)
        try maker.glides("b.wav", rate: 16_000, seconds: 1.1, seed: 2)
        try maker.glides("rate.wav", rate: 22_050, seed: 3)
        try maker.glides("stereo.wav", rate: 16_000, channels: 2, seconds: 0.9, seed: 4)
        try maker.glides("cd.wav", rate: 44_100, channels: 2, seconds: 0.7, seed: 5)
    }

    private static let channels = ["a": 1, "b": 1, "rate": 1, "stereo": 2, "cd": 2]

    private func encode(_ names: [String], _ options: String, _ ending: String) throws {
        let inputs = names.map { "-i \($0).wav" }.joined(separator: " ")
        let outputs = names.enumerated().map { "-map \($0.offset) \(options) \($0.element).\(ending)" }
        try maker.ffmpeg("\(inputs) \(outputs.joined(separator: " "))")
    }

    /// The samples of recordings, each decoded alone, at one rate.
    private func apart(_ names: [String], _ ending: String, rate: Int, channels: Int? = nil) throws -> [Float] {
        func key(_ name: String) -> String { "\(name).\(ending) \(rate)" }
        let missing = Set(names).filter { known.samples[key($0)] == nil }.sorted()
        if !missing.isEmpty {
            let decoded = try maker.ffmpegSamples(
                missing.map { ("\($0).\(ending)", channels ?? Self.channels[$0] ?? 1) }, rate: rate)
            for (name, samples) in zip(missing, decoded) { known.samples[key(name)] = samples }
        }
        return names.flatMap { known.samples[key($0)] ?? [] }
    }

    private func joined(_ names: [String], _ ending: String, with between: [UInt8] = []) throws -> [Float] {
        try maker.join(names.map { "\($0).\(ending)" }, to: "joined.\(ending)", with: between)
        return try decodedSamples(maker.path("joined.\(ending)"))
    }

    @Test func joinedMP3sAreDecodedToTheEnd() throws {
        try encode(["a", "b", "rate", "stereo", "cd"], "-b:a 96k", "mp3")
        _ = try apart(["a", "b", "rate", "stereo"], "mp3", rate: 16_000)
        try expectSame(joined(["a", "b"], "mp3"), apart(["a", "b"], "mp3", rate: 16_000))
        try expectSame(
            joined(["a", "stereo", "b"], "mp3"), apart(["a", "stereo", "b"], "mp3", rate: 16_000), "channels")
        try expectSame(joined(["stereo", "a"], "mp3"), apart(["stereo", "a"], "mp3", rate: 16_000), "channels")
        try expectAlike(joined(["a", "rate", "b"], "mp3"), apart(["a", "rate", "b"], "mp3", rate: 16_000), "rate")
        try expectAlike(joined(["rate", "cd"], "mp3"), apart(["rate", "cd"], "mp3", rate: 22_050), "both")
        let tag = Array("TAG".utf8) + [UInt8](repeating: 0, count: 125)
        try expectSame(joined(["a", "b"], "mp3", with: tag), apart(["a", "b"], "mp3", rate: 16_000), "ID3v1")
        let zeros = [UInt8](repeating: 0, count: 5000)
        try expectSame(
            joined(["a", "b"], "mp3", with: zeros), apart(["a", "b"], "mp3", rate: 16_000), "zeros between")
    }

    @Test func theReportedJoinedMP3IsDecodedToTheEnd() throws {
        _ = try maker.write([UInt8](Data(contentsOf: URL(filePath: faultPath("joined.mp3")))), to: "j.mp3")
        // ffmpeg 5.1 decodes 2.0 s: 32,000 samples at 16 kHz.
        let source = try AudioDecoder.open(path: maker.path("j.mp3"))
        let samples = try readAll(source)
        #expect(samples.count == 2 * source.sampleRate)
        #expect(rootMeanSquare(Array(samples.suffix(source.sampleRate / 2))) > 0.01)
    }

    /// Without the header frame of an MP3 a joint cannot be detected: all is one stream, as for ffmpeg.
    @Test func mp3sWithoutAHeaderFrameAreOneStream() throws {
        try encode(["a", "b", "cd"], "-b:a 96k -write_xing 0 -id3v2_version 0", "mp3")
        try expectSame(joined(["a", "b"], "mp3"), maker.ffmpegSamples("joined.mp3"))
        try expectAlike(joined(["a", "cd"], "mp3"), apart(["a", "cd"], "mp3", rate: 16_000), "rate")
    }

    @Test func joinedADTSAndAC3AreDecodedToTheEnd() throws {
        try encode(["a", "b", "rate"], "-c:a aac -b:a 64k", "aac")
        try expectSame(joined(["a", "b"], "aac"), maker.ffmpegSamples("joined.aac"))
        #expect(try joined(["a", "rate"], "aac").count == apart(["a", "rate"], "aac", rate: 16_000).count)
        try encode(["a", "b"], "-c:a ac3 -ar 48000", "ac3")
        try expectSame(joined(["a", "b"], "ac3"), maker.ffmpegSamples("joined.ac3"))
    }

    /// With thousands of joined files, each decoder reads a view of the previous decoder's view.
    @Test func aViewOfViewsIsOneView() throws {
        var reader: any ByteReader = try MemoryReader(copying: (0..<100_000).map { UInt8(truncatingIfNeeded: $0) })
        for _ in 0..<99_990 { reader = ReaderView(reader, from: 1) }
        reader = ReaderView(ReaderView(reader, from: 2, to: 9), from: 1, to: 100)
        #expect(try reader.size == 6)
        #expect(try reader.peek(1, 100, name: "view") == (99_994..<99_999).map { UInt8(truncatingIfNeeded: $0) })
        let patched = ReaderView(reader, patches: [ReaderView.Patch(offset: 0, bytes: [7])])
        #expect(try ReaderView(patched, from: 0, to: 1).peek(0, 2, name: "view") == [7])
    }

    /// A FLAC file may be followed by another, or by an ID3v1 tag, which ffmpeg treats as damage.
    @Test func joinedFLACsAreDecodedToTheEnd() throws {
        try encode(["a", "b", "cd"], "-c:a flac", "flac")
        try expectSame(joined(["a", "b", "a"], "flac"), apart(["a", "b", "a"], "flac", rate: 16_000))
        try expectAlike(joined(["cd", "a"], "flac"), apart(["cd", "a"], "flac", rate: 44_100))
        let tag = Array("TAG".utf8) + [UInt8](repeating: 0, count: 125)
        for after in [tag, [UInt8](repeating: 0, count: 5000), Array("APETAGEX".utf8)] {
            let bytes = try maker.bytes("cd.flac") + after
            try expectSame(readAll(AudioDecoder.open(bytes: bytes)), apart(["cd"], "flac", rate: 44_100))
        }
    }

    /// Each codec in Ogg, with the recordings to join. Opus is always decoded at 48 kHz.
    // ffmpeg 5.1 decodes samples after the end of some Vorbis streams, but not of these.
    @Test(arguments: [
        ("-c:a libvorbis -q:a 4", ["a", "b", "rate"]), ("-c:a flac -f ogg", ["a", "stereo", "b", "rate"]),
        ("-c:a libspeex -f ogg -ac 1 -ar 16000", ["a", "b"]), ("-c:a libopus -ac 2 -ar 48000", ["cd", "rate", "a"]),
    ])
    func chainedOggIsDecodedToTheEnd(options: String, names: [String]) throws {
        try encode(names, options, "ogg")
        let rate = options.contains("opus") ? 48_000 : 16_000
        let channels = options.contains("opus") ? 2 : nil
        _ = try apart(names, "ogg", rate: rate, channels: channels)
        func right(_ names: [String]) throws -> [Float] { try apart(names, "ogg", rate: rate, channels: channels) }
        let two = Array(names.prefix(2))
        try expectSame(joined(two, "ogg"), right(two), options)
        try expectAlike(joined(names, "ogg"), right(names), options)
        try expectSame(joined(two, "ogg", with: Array("junk".utf8)), right(two), "\(options) with junk between")
    }

    @Test func theReportedChainedOggIsDecodedToTheEnd() throws {
        // ffmpeg 5.1 decodes 2.0 s.
        let source = try AudioDecoder.open(path: faultPath("chained.ogg"))
        let samples = try readAll(source)
        #expect(samples.count == 2 * source.sampleRate)
        #expect(rootMeanSquare(Array(samples.suffix(source.sampleRate / 2))) > 0.01)
    }

    @Test func linksOfOtherCodecsFollowOneAnother() throws {
        try maker.ffmpeg("-i a.wav -c:a libvorbis a.ogg -c:a flac -f ogg b.ogg -c:a libspeex -f ogg stereo.ogg")
        try expectAlike(
            joined(["a", "b", "stereo"], "ogg"), apart(["a", "b", "stereo"], "ogg", rate: 16_000, channels: 1))
    }

    /// A link of a chain whose head is damaged is skipped and reported.
    @Test func aDamagedLinkIsReported() throws {
        try encode(["a", "b", "rate"], "-c:a flac -f ogg -q:a 4", "ogg")
        let whole = try apart(["a", "rate"], "ogg", rate: 16_000)
        var damaged = try maker.bytes("b.ogg")
        damaged.replaceSubrange(28..<60, with: [UInt8](repeating: 0, count: 32))
        _ = try maker.write(damaged, to: "b.ogg")
        let first = try maker.bytes("a.ogg").count
        for (names, place) in [(["a", "b", "rate"], first), (["b", "a", "rate"], 0)] {
            try maker.join(names.map { "\($0).ogg" }, to: "joined.ogg")
            let source = try AudioDecoder.open(path: maker.path("joined.ogg"))
            try expectAlike(readAll(source), whole)
            #expect(source.omissions.count == 1)
            #expect(source.omissions.first?.contains("lacks the Ogg stream that begins at byte \(place),") == true)
        }
    }
}
