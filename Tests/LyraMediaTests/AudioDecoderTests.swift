import Foundation
import LyraBase
import Testing

@testable import LyraMedia

@Suite struct AudioDecoderTests {
    private let maker: MediaMaker

    init() throws { maker = try MediaMaker() }

    /// A decoded tone is aligned with the original, without the encoder's delay. The error is below 5 % of the
    /// amplitude.
    @Test(arguments: [
        ("-c:a aac -b:a 96k", "a.m4a"), ("-c:a aac -b:a 96k", "a.mp4"), ("-c:a aac -b:a 96k", "a.mov"),
        ("-c:a libopus -b:a 96k", "a.webm"), ("-c:a libvorbis -q:a 6", "b.webm"),
        ("-c:a libmp3lame -b:a 128k", "a.mp3"),
        ("-c:a alac", "b.m4a"), ("-c:a pcm_s16le", "a.mkv"), ("-c:a flac", "b.mkv"), ("-c:a ac3", "a.avi"),
        ("-c:a libopus -b:a 96k", "a.ogg"), ("-c:a pcm_s16le", "a.wav"),
    ])
    func everyFormatDecodesTheTone(codec: String, name: String) throws {
        let tone = (0..<48_000).map { Float(0.5 * sin(2 * .pi * 440 * Double($0) / 48_000)) }
        _ = try maker.write(floatWAV(tone.flatMap { [$0, $0] }, sampleRate: 48_000, channels: 2), to: "tone.wav")
        try maker.ffmpeg("-i tone.wav \(codec) \(name)")
        let source = try AudioDecoder.open(path: maker.path(name))
        #expect(source.sampleRate == 48_000)
        let samples = try readAll(source)
        #expect(source.isAtEnd)
        // The last frame of the codec may be longer than the sound.
        #expect(samples.count >= tone.count && samples.count <= tone.count + 2_048)
        let middle = 2_000..<46_000
        let delay = codec.contains("ac3") ? 256 : 0
        let difference = zip(samples[(middle.lowerBound + delay)...], tone[middle]).map { $0 - $1 }
        #expect(rootMeanSquare(difference) < 0.05 * 0.5, "\(rootMeanSquare(difference))")
        #expect(try readAll(try AudioDecoder.open(bytes: maker.bytes(name)), piece: 77) == samples)
    }

    @Test func adtsWithoutAContainerIsRead() throws {
        try maker.ffmpeg("-f lavfi -i sine=440:duration=1 -ar 22050 a.aac")
        let source = try AudioDecoder.open(path: maker.path("a.aac"))
        #expect(source.sampleRate == 22_050)
        #expect(abs(try readAll(source).count - 22_050) <= 3_072)
    }

    @Test func channelsAreAveraged() throws {
        try maker.ffmpeg("-f lavfi -i sine=440:duration=1 -af pan=stereo|c0=c0|c1=-1*c0 -c:a alac opposite.m4a")
        #expect(try readAll(try AudioDecoder.open(path: maker.path("opposite.m4a"))).allSatisfy { $0 == 0 })
    }

    @Test func interruptionIsAnError() throws {
        try maker.ffmpeg("-f lavfi -i sine=440:duration=5 a.m4a")
        let bytes = try maker.bytes("a.m4a")
        var left = 40
        let error = try lyraError {
            _ = try readAll(
                try AudioDecoder.open(bytes: bytes, name: "a.m4a") {
                    left -= 1
                    return left < 0
                })
        }
        #expect(error == LyraError(.state, "a.m4a: interrupted"))
    }

    @Test func dataThatIsNotAudioIsAnErrorThatNamesTheFile() throws {
        let error = try #require(
            try lyraError { _ = try AudioDecoder.open(bytes: Array("not a sound".utf8), name: "text.wav") })
        #expect(error.code == .format && error.message.hasPrefix("text.wav: not audio that lyra can decode ("))
        #expect(try lyraError { _ = try AudioDecoder.open(path: "/nowhere/a.wav") }?.code == .io)
        #expect(try lyraError { _ = try AudioDecoder.open(bytes: []) }?.code == .format)
    }
}
