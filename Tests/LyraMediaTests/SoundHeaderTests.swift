import CSndfile
import Foundation
import Testing

@testable import LyraMedia

/// Sizes in headers that were never filled in, because the recorder crashed or wrote to a pipe. All samples are
/// decoded, as by the ffmpeg command.
@Suite struct SoundHeaderTests {
    private static let samples = glides(seconds: 0.3, rate: 16_000, channels: 2, seed: 1)
    /// Half a step of 16 bits and the rounding of the mean.
    private static let tolerance: Float = 1.5 / 65_536

    private static func mono() -> [Float] {
        stride(from: 0, to: samples.count, by: 2).map { (samples[$0] + samples[$0 + 1]) / 2 }
    }

    private static func bytes(_ value: UInt64, _ count: Int, big: Bool) -> [UInt8] {
        let little = (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * UInt64($0))) }
        return big ? little.reversed() : little
    }

    private static func place(of mark: String, in bytes: [UInt8]) throws -> Int {
        try #require(bytes.indices.first { bytes[$0...].starts(with: mark.utf8) })
    }

    private func check(_ bytes: [UInt8], _ what: String) throws {
        try expectSame(readAll(AudioDecoder.open(bytes: bytes)), Self.mono(), within: Self.tolerance, what)
    }

    /// A format, where its sizes stand in relation to a mark, and whether they are big-endian.
    struct Form: Sendable, CustomTestStringConvertible {
        let name: String
        let format: Int
        let places: [(mark: String, offset: Int, length: Int)]
        var isBig = false
        var testDescription: String { name }
    }

    private static let forms = [
        Form(name: "WAV", format: SF_FORMAT_WAV, places: [("RIFF", 4, 4), ("data", 4, 4)]),
        Form(name: "WAV, outer size right", format: SF_FORMAT_WAV, places: [("data", 4, 4)]),
        Form(
            name: "RIFX", format: SF_FORMAT_WAV | SF_ENDIAN_BIG, places: [("RIFX", 4, 4), ("data", 4, 4)], isBig: true),
        Form(name: "RF64", format: SF_FORMAT_RF64, places: [("ds64", 8, 8), ("ds64", 16, 8), ("ds64", 24, 8)]),
        Form(name: "W64", format: SF_FORMAT_W64, places: [("riff", 16, 8), ("data", 16, 8)]),
        Form(name: "AIFF", format: SF_FORMAT_AIFF, places: [("FORM", 4, 4), ("SSND", 4, 4)], isBig: true),
        Form(
            name: "AIFF without a count", format: SF_FORMAT_AIFF,
            places: [("FORM", 4, 4), ("SSND", 4, 4), ("COMM", 10, 4)], isBig: true),
        Form(
            name: "AIFC", format: SF_FORMAT_AIFF | SF_ENDIAN_LITTLE, places: [("SSND", 4, 4), ("COMM", 10, 4)],
            isBig: true),
        Form(name: "AU", format: SF_FORMAT_AU, places: [(".snd", 8, 4)], isBig: true),
        Form(name: "CAF", format: SF_FORMAT_CAF, places: [("data", 4, 8)], isBig: true),
    ]

    @Test(arguments: forms)
    func impossibleSizesMeanTheEndOfTheFile(form: Form) throws {
        let whole = try #require(
            try soundFile(Self.samples, format: form.format | SF_FORMAT_PCM_16, channels: 2))
        try check(whole, "as written")
        for value: UInt64 in [0, .max, 0x1000_0000, 0x7fff_ffff] {
            var bytes = whole
            for (mark, offset, length) in form.places {
                let place = try Self.place(of: mark, in: whole) + offset
                bytes.replaceSubrange(place..<place + length, with: Self.bytes(value, length, big: form.isBig))
            }
            try check(bytes, "\(form.name) with \(value)")
        }
    }

    @Test(arguments: forms)
    func aTruncatedFileGivesItsSamples(form: Form) throws {
        let whole = try #require(
            try soundFile(Self.samples, format: form.format | SF_FORMAT_PCM_16, channels: 2))
        // AIFF and CAF may have chunks after the samples.
        let cut = Array(whole[..<(whole.count * 2 / 3)])
        let got = try readAll(AudioDecoder.open(bytes: cut))
        // A frame has four bytes; the header has at most 4,200.
        #expect(got.count <= cut.count / 4 && got.count >= (cut.count - 4200) / 4)
        #expect(largestDifference(got, Self.mono()) < Self.tolerance)
    }

    @Test(arguments: [
        SF_FORMAT_PCM_U8, SF_FORMAT_PCM_24, SF_FORMAT_PCM_32, SF_FORMAT_FLOAT, SF_FORMAT_DOUBLE, SF_FORMAT_ALAW,
        SF_FORMAT_ULAW,
    ])
    func samplesOfEveryEncodingAreFound(kind: Int) throws {
        let whole = try #require(try soundFile(Self.samples, format: SF_FORMAT_WAV | kind, channels: 2))
        let right = try readAll(AudioDecoder.open(bytes: whole))
        let place = try Self.place(of: "data", in: whole) + 4
        for value: UInt64 in [0, .max] {
            var bytes = whole
            bytes.replaceSubrange(4..<8, with: Self.bytes(value, 4, big: false))
            bytes.replaceSubrange(place..<place + 4, with: Self.bytes(value, 4, big: false))
            // libsndfile writes a chunk after floats, which counts as samples if no size states their end.
            let got = try readAll(AudioDecoder.open(bytes: bytes))
            #expect(got.count >= right.count && got.count < right.count + 20)
            #expect(right.count == Self.samples.count / 2 && largestDifference(got, right) == 0)
        }
    }

    /// A file of AVAudioFile after a crash: ffmpeg 5.1 decodes 16,000 samples.
    @Test func theFileOfACrashedRecorderIsDecoded() throws {
        let maker = try MediaMaker()
        _ = try maker.write([UInt8](Data(contentsOf: URL(filePath: faultPath("crash.wav")))), to: "crash.wav")
        let right = try maker.ffmpegSamples("crash.wav")
        #expect(right.count == 16_000)
        try expectSame(decodedSamples(faultPath("crash.wav")), right, within: 1e-6)
    }

    /// A recording that only chunks without samples, or nothing, follow has no samples.
    @Test(arguments: [[], Array("LIST".utf8) + [10, 0, 0, 0] + Array("INFOISFT".utf8) + [2, 0]])
    func anEmptyRecordingStaysEmpty(after: [UInt8]) throws {
        #expect(try readAll(AudioDecoder.open(bytes: floatWAV([]) + after)).isEmpty)
    }

    /// A sparse file of 5 GB. ffmpeg 5.1 states 43 h 24 min 10 s.
    @Test(arguments: [0, .max, 5_000_000_000] as [UInt64], [false, true])
    func samplesBeyondFourGibibytesAreCounted(size: UInt64, isAIFF: Bool) throws {
        let maker = try MediaMaker()
        let marker: [Float] = (0..<1000).map { Float($0) / 1000 }
        let format = isAIFF ? SF_FORMAT_AIFF : SF_FORMAT_WAV
        var bytes = try #require(try soundFile(marker, format: format | SF_FORMAT_PCM_16))
        let part = try Self.place(of: isAIFF ? "SSND" : "data", in: bytes)
        let head = part + (isAIFF ? 16 : 8)
        // SSND counts its own two fields.
        let stated = isAIFF && size == 5_000_000_000 ? size + 8 : size
        for place in [4, part + 4] {
            bytes.replaceSubrange(place..<place + 4, with: Self.bytes(stated & 0xffff_ffff, 4, big: isAIFF))
        }
        let path = try maker.write(bytes, to: "long")
        #expect(truncate(path, head + 5_000_000_000) == 0)
        let source = try AudioDecoder.open(path: path)
        #expect(source.length == .exact(2_500_000_000))
        var first = [Float](repeating: 0, count: 1000)
        #expect(try first.withUnsafeMutableBufferPointer { try source.read(into: $0) } == 1000)
        // 16 bits are written as 32,767 and read as 32,768 steps.
        #expect(largestDifference(first, marker) < 1e-4)
    }
}
