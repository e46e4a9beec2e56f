import Foundation
import Testing

@testable import LyraMedia

/// The content of a file does not change its format: frames of MP3 or AAC in a container, or a container's markers in a
/// tag. Samples are compared with what the ffmpeg command decodes.
@Suite struct SoundInContainersTests {
    private let maker: MediaMaker

    init() throws { maker = try MediaMaker() }

    private func check(_ name: String, as right: String? = nil, channels: Int = 2) throws {
        try expectSame(
            decodedSamples(maker.path(name)), maker.ffmpegSamples(right ?? name, channels: channels), name)
    }

    private func check(_ names: [String]) throws {
        let right = try maker.ffmpegSamples(names.map { ($0, 2) })
        for (name, right) in zip(names, right) { try expectSame(decodedSamples(maker.path(name)), right, name) }
    }

    /// mkvmerge puts several frames into a Matroska block ("lacing"), so four frames follow each other directly.
    @Test func lacedMP3IsReadByItsContainer() throws {
        _ = try maker.write([UInt8](Data(contentsOf: URL(filePath: faultPath("laced.mka")))), to: "laced.mka")
        try check("laced.mka", channels: 1)
    }

    @Test func mp3AndAACInEveryContainerAreReadByIt() throws {
        try maker.glides("a.wav", rate: 44_100, channels: 2, seed: 1)
        try maker.ffmpeg("-i a.wav -b:a 96k a.mp3 -c:a aac -b:a 64k a.aac")
        let video = "-f lavfi -i testsrc=s=64x64:r=10:d=1.3"
        try maker.ffmpeg(
            "\(video) -i a.mp3 -c:a copy -c:v mjpeg v.mkv -c:a copy -c:v mjpeg v.avi -c:a copy -c:v flv v.flv "
                + "-c:a copy -c:v mpeg2video -r 25 v.ts")
        try maker.ffmpeg(
            "-i a.mp3 -i a.aac -map 0 -c copy a.nut -map 0 -c copy m.wav -map 0 -c copy m.mp4 -map 0 -c copy m.mka "
                + "-map 1 -c copy b.mka -map 1 -c copy b.ts -map 1 -c copy b.avi")
        try check(["v.mkv", "v.avi", "v.flv", "v.ts", "a.nut", "m.wav", "m.mp4", "m.mka", "b.mka", "b.ts", "b.avi"])
        // A QuickTime file need not begin with "ftyp": here "free" stands there.
        try maker.ffmpeg(
            "\(video) -i a.mp3 -c:a copy -c:v mjpeg with.mov -map 1 -c:a copy -movflags faststart only.mov")
        for name in ["with.mov", "only.mov"] {
            var bytes = try maker.bytes(name)
            bytes.replaceSubrange(4..<8, with: "free".utf8)
            _ = try maker.write(bytes, to: "no-\(name)")
            try check("no-\(name)", as: name)
        }
    }

    /// Tags with pictures of 200 kB that contain the first bytes of other formats.
    @Test func tagsMayHoldAnything() throws {
        try maker.glides("a.wav", rate: 44_100, channels: 2, seed: 2)
        try maker.ffmpeg("-i a.wav -b:a 96k -id3v2_version 0 a.mp3 -c:a aac a.aac -c:a flac a.flac")
        let mp3 = try maker.bytes("a.mp3")
        let marks: [[UInt8]] = [
            Array("RIFF".utf8) + [0xff, 0xff, 0xff, 0x7f] + Array("WAVEfmt ".utf8), Array("OggS".utf8) + [0, 2],
            [0, 0, 0, 0x18] + Array("ftypisom".utf8), Array("ID3".utf8) + [4, 0, 0, 0, 0, 15, 127],
            [0x1a, 0x45, 0xdf, 0xa3], Array(mp3.prefix(20_000)),
        ]
        let right = try maker.ffmpegSamples("a.mp3", channels: 2)
        for mark in marks {
            var picture = noise(200_000, seed: 3).map { UInt8(($0 + 0.5) * 255) }
            for place in [0, 100, 30_000, 65_536, 150_000] {
                picture.replaceSubrange(place..<place + mark.count, with: mark)
            }
            try expectSame(
                readAll(AudioDecoder.open(bytes: Self.tag(picture) + mp3)), right, "\(mark.prefix(8))")
        }
        let tag = Self.tag(Array(mp3.prefix(30_000)))
        try expectSame(readAll(AudioDecoder.open(bytes: tag + tag + mp3)), right, "two tags")
        for name in ["a.aac", "a.flac"] {
            let bytes = try tag + maker.bytes(name)
            try expectSame(readAll(AudioDecoder.open(bytes: bytes)), maker.ffmpegSamples(name, channels: 2), name)
        }
    }

    /// An ID3v2.3 tag with a picture.
    private static func tag(_ picture: [UInt8]) -> [UInt8] {
        func big(_ value: Int, bits: Int) -> [UInt8] {
            (0..<4).map { UInt8(value >> (bits * (3 - $0)) & (1 << bits - 1)) }
        }
        let body = Array("\0image/jpeg\0\u{3}\0".utf8) + picture
        let frame = Array("APIC".utf8) + big(body.count, bits: 8) + [0, 0] + body
        return Array("ID3".utf8) + [3, 0, 0] + big(frame.count, bits: 7) + frame
    }

    /// Lossless codecs keep the samples, within one step of 16 bits.
    @Test func codecsThatOnlyFFmpegReadsAreOpened() throws {
        try maker.glides("a.wav", rate: 48_000, channels: 2, seed: 4)
        try maker.ffmpeg(
            "-i a.wav -c:a alac a.caf -c:a alac a.m4a -c:a wavpack a.wv -c:a tta a.tta -c:a pcm_s16le a.nut "
                + "-c:a flac a.mka -c:a libopus o.caf -c:a wmav2 a.wma -c:a ac3 a.ac3 -c:a aac -f latm a.latm")
        let right = try maker.ffmpegSamples("a.wav", channels: 2)
        for name in ["a.caf", "a.m4a", "a.wv", "a.tta", "a.nut", "a.mka"] {
            try expectSame(decodedSamples(maker.path(name)), right, within: 1.01 / 32_768, name)
        }
        try check(["o.caf", "a.wma", "a.ac3", "a.latm"])
        try maker.ffmpeg(
            "-f lavfi -i testsrc=s=720x576:r=25:d=0.4 -i a.wav -c:v dvvideo -pix_fmt yuv420p -c:a pcm_s16le -t 0.4 a.dv"
        )
        try check("a.dv")
    }
}
