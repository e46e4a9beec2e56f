import Foundation
import Testing

@testable import LyraMedia

/// PCM in QuickTime files, whose tables count every sample: limits on tables must not refuse long recordings.
@Suite struct SoundTablesTests {
    private let maker: MediaMaker

    init() throws { maker = try MediaMaker() }

    /// 12 min at 48 kHz. ffmpeg 5.1 decodes 34,560,000 samples.
    @Test func twelveMinutesOfPCMAreDecoded() throws {
        try maker.ffmpeg("-f lavfi -i sine=f=440:r=48000:d=720 -ac 1 -c:a pcm_u8 long.mov")
        let source = try AudioDecoder.open(path: maker.path("long.mov"))
        var buffer = [Float](repeating: 0, count: 1 << 20)
        var count = 0
        while !source.isAtEnd { count += try buffer.withUnsafeMutableBufferPointer { try source.read(into: $0) } }
        #expect(count == 34_560_000)
    }

    @Test(arguments: ["pcm_s16le", "pcm_s16be -movflags faststart", "pcm_mulaw -movflags frag_keyframe+empty_moov"])
    func samplesEqualFFmpegs(codec: String) throws {
        try maker.glides("a.wav", rate: 48_000, channels: 2, seed: 1)
        try maker.ffmpeg("-i a.wav -c:a \(codec) a.mov")
        try expectSame(decodedSamples(maker.path("a.mov")), maker.ffmpegSamples("a.mov", channels: 2), within: 1e-6)
    }

    /// Eight tracks of 90 s have as many samples as one of 12 min; beside a video, too.
    @Test func eightTracksAreNotTooMany() throws {
        let tracks = String(repeating: "-map 0:a ", count: 8)
        try maker.ffmpeg(
            "-f lavfi -i sine=f=440:r=48000:d=90 -f lavfi -i testsrc=s=64x64:r=2:d=90 "
                + "\(tracks) -ac 1 -c:a pcm_u8 eight.mov "
                + "-map 1:v \(tracks) -ac 1 -c:a pcm_u8 -c:v mjpeg video.mov")
        #expect(try AudioDecoder.open(path: maker.path("eight.mov")).sampleRate == 48_000)
        #expect(try decodedSamples(maker.path("video.mov")).count == 90 * 48_000)
        let decoder = try scanned(VideoDecoder(path: maker.path("video.mov")))
        #expect(decoder.frameCount == 180 && decoder.hasAudio)
    }

    /// A table that claims more samples than its chunks hold is refused before it is expanded.
    @Test func tablesThatClaimTooMuchAreRefused() throws {
        try maker.ffmpeg("-f lavfi -i sine=f=440:r=48000:d=1 -ac 1 -c:a pcm_u8 a.mov")
        var bytes = try maker.bytes("a.mov")
        let table = try #require(bytes.indices.first { bytes[$0...].starts(with: "stsc".utf8) })
        // The samples per chunk, in the first entry.
        bytes.replaceSubrange(table + 16..<table + 20, with: [0x7f, 0xff, 0xff, 0xff])
        let places = try #require(bytes.indices.first { bytes[$0...].starts(with: "stco".utf8) })
        bytes.replaceSubrange(places + 8..<places + 12, with: [0, 0xff, 0xff, 0xff])
        let error = try #require(try lyraError { _ = try readAll(AudioDecoder.open(bytes: bytes, name: "much.mov")) })
        #expect(error.code == .memory && error.message.hasPrefix("much.mov: its tables claim"))
    }
}
