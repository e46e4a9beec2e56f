import CSndfile
import Foundation
import Testing

@testable import LyraMedia

@Suite struct SndfileDecoderTests {
    private static func tone(_ count: Int, sampleRate: Int) -> [Float] {
        (0..<count).map { 0.5 * sin(2 * .pi * 440 * Float($0) / Float(sampleRate)) }
    }

    /// Tolerances: half a quantization step of the format (a whole one for unsigned bytes, which truncate).
    @Test(arguments: [
        (SF_FORMAT_WAV | SF_FORMAT_PCM_U8, Float(1.0 / 127)),
        (SF_FORMAT_WAV | SF_FORMAT_PCM_16, Float(1.0 / 32767)),
        (SF_FORMAT_WAV | SF_FORMAT_PCM_24, Float(1.0 / 8_388_607)),
        (SF_FORMAT_WAV | SF_FORMAT_PCM_32, Float(1e-7)),
        (SF_FORMAT_WAV | SF_FORMAT_FLOAT, Float(0)),
        (SF_FORMAT_WAV | SF_FORMAT_DOUBLE, Float(0)),
        (SF_FORMAT_FLAC | SF_FORMAT_PCM_16, Float(1.0 / 32767)),
        (SF_FORMAT_FLAC | SF_FORMAT_PCM_24, Float(1.0 / 8_388_607)),
    ])
    func losslessFormatsKeepTheSamples(format: Int, tolerance: Float) throws {
        let samples = Self.tone(20_000, sampleRate: 22_050)
        let bytes = try #require(try soundFile(samples, format: format, sampleRate: 22_050))
        let decoder = try SndfileDecoder(bytes: bytes)
        #expect(decoder.sampleRate == 22_050)
        #expect(decoder.channels == 1)
        let decoded = try readAll(decoder)
        #expect(decoded.count == samples.count)
        #expect(largestDifference(decoded, samples) <= tolerance)
        #expect(decoder.isAtEnd)
    }

    /// Lossy formats keep the length; the RMS of the difference is below 5 % of the amplitude.
    @Test(arguments: [
        SF_FORMAT_OGG | SF_FORMAT_VORBIS,
        SF_FORMAT_OGG | SF_FORMAT_OPUS,
        SF_FORMAT_MPEG | SF_FORMAT_MPEG_LAYER_III,
    ])
    func lossyFormatsKeepTheTone(format: Int) throws {
        let samples = Self.tone(48_000, sampleRate: 48_000)
        guard let bytes = try soundFile(samples, format: format, sampleRate: 48_000) else {
            Issue.record("this libsndfile cannot write format \(format)")
            return
        }
        let decoded = try readAll(try AudioDecoder.open(bytes: bytes))
        #expect(abs(decoded.count - samples.count) <= 1152)
        let middle = 2_000..<46_000
        let difference = zip(decoded[middle], samples[middle]).map { $0 - $1 }
        #expect(rootMeanSquare(difference) < 0.05 * 0.5)
    }

    /// Python's soundfile (libsndfile 1.2.2) reads 86,976 samples with an RMS of 0.093084 from the same file. MP3
    /// decoders may differ in the last bits: 1e-5.
    @Test func realMP3IsReadAsPeersReadIt() throws {
        let decoder = try AudioDecoder.open(path: fixturePath("hi.mp3"))
        #expect(decoder.sampleRate == 24_000)
        let samples = try readAll(decoder)
        #expect(samples.count == 86_976)
        #expect(abs(rootMeanSquare(samples) - 0.09308435) < 1e-5)
        #expect(try readAll(try AudioDecoder.open(bytes: fixture("hi.mp3")), piece: 77) == samples)
    }

    /// A recording that was cut out of a stream begins inside a frame. Of the 86,976 samples of the whole (151 frames
    /// of 576), only the cut frame and those that refer back to it may differ.
    @Test func anMP3ThatBeginsInsideAFrameIsRead() throws {
        let whole = try readAll(try AudioDecoder.open(bytes: fixture("hi.mp3")))
        let cut = try readAll(try AudioDecoder.open(bytes: Array(fixture("hi.mp3")[100...]), name: "cut.mp3"))
        #expect(cut.count == 86_976 - 576)
        #expect(largestDifference(cut.suffix(80_000), whole.suffix(80_000)) < 1e-6)
        let noMusic = noise(30_000, seed: 7).map { UInt8(($0 + 0.5) * 255) }
        #expect(noMusic.withUnsafeBytes { MP3Sync.firstFrame(in: $0) } == nil)
    }

    @Test func channelsAreAveraged() throws {
        let left = noise(5_000, seed: 1)
        let right = noise(5_000, seed: 2)
        let stereo = zip(left, right).flatMap { [$0, $1] }
        let decoded = try readAll(try SndfileDecoder(bytes: floatWAV(stereo, channels: 2)))
        #expect(largestDifference(decoded, zip(left, right).map { ($0 + $1) / 2 }) < 1e-7)
        #expect(decoded.count == 5_000)

        let many = [Float](repeating: 0.25, count: 1024 * 3)
        #expect(try readAll(try SndfileDecoder(bytes: floatWAV(many, channels: 1024))) == [0.25, 0.25, 0.25])
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity, 3e38])
    func nonFiniteAndHugeSamplesAreRefusedWithTheirPosition(bad: Float) throws {
        var samples = noise(100_000, seed: 3)
        samples[70_001] = bad
        let decoder = try SndfileDecoder(bytes: floatWAV(samples), name: "spoilt.wav")
        let error = try #require(try lyraError { _ = try readAll(decoder) })
        #expect(error.code == .format)
        #expect(error.message.hasPrefix("spoilt.wav: sample 70001 is"))
        #expect(try lyraError { _ = try readAll(decoder) } == error)
    }

    @Test func doublesBeyondFloatAreRefused() throws {
        // 1e300 as a double becomes infinite as a Float.
        var bytes = try #require(
            try soundFile(
                [Float](repeating: 0.5, count: 4), format: SF_FORMAT_WAV | SF_FORMAT_DOUBLE))
        let huge = withUnsafeBytes(of: (1e300).bitPattern.littleEndian) { Array($0) }
        bytes.replaceSubrange(bytes.count - 8..<bytes.count, with: huge)
        #expect(try lyraError { _ = try readAll(try SndfileDecoder(bytes: bytes)) }?.code == .format)
    }

    @Test func emptyAndUnknownDataAreErrorsThatNameTheFile() throws {
        let empty = try #require(try lyraError { _ = try SndfileDecoder(bytes: [], name: "empty.wav") })
        #expect(empty.code == .format && empty.message.hasPrefix("empty.wav: "))
        let text = try #require(
            try lyraError { _ = try SndfileDecoder(bytes: Array("not a sound".utf8), name: "text.wav") })
        #expect(text.code == .format && text.message.hasPrefix("text.wav: "))
        let absent = try #require(try lyraError { _ = try AudioDecoder.open(path: "/nowhere/a.wav") })
        #expect(absent.code == .io && absent.message.contains("/nowhere/a.wav"))
        #expect(try lyraError { _ = try AudioDecoder.open(path: "/tmp") }?.code == .io)
        #expect(try lyraError { _ = try AudioDecoder.open(path: "/dev/zero") }?.code == .io)
    }

    @Test func aFileWithoutSamplesIsReadAsEmpty() throws {
        let decoder = try SndfileDecoder(bytes: floatWAV([]))
        #expect(try readAll(decoder).isEmpty)
        #expect(decoder.isAtEnd)
    }

    @Test func absurdRatesAndChannelsAreRefused() throws {
        #expect(try lyraError { _ = try SndfileDecoder(bytes: floatWAV([0], sampleRate: 0)) }?.code == .format)
        #expect(
            try lyraError { _ = try SndfileDecoder(bytes: floatWAV([0], sampleRate: 1_000_001)) }?.code == .format)
        #expect(try lyraError { _ = try SndfileDecoder(bytes: floatWAV([0, 0], channels: 0)) }?.code == .format)
        #expect(
            try lyraError {
                _ = try SndfileDecoder(bytes: floatWAV([Float](repeating: 0, count: 1025), channels: 1025))
            }?
            .code == .format)
        #expect(try SndfileDecoder(bytes: floatWAV([0], sampleRate: 1_000_000)).sampleRate == 1_000_000)
    }

    @Test func aTruncatedWAVGivesTheSamplesThatAreThere() throws {
        let samples = noise(1_000, seed: 4)
        let bytes = floatWAV(samples)
        let decoded = try readAll(try SndfileDecoder(bytes: Array(bytes[..<(44 + 600 * 4 + 2)])))
        #expect(decoded == Array(samples[..<600]))
    }
}
