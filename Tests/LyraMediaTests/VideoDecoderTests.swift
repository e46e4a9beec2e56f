import Foundation
import LyraBase
import Testing

@testable import LyraMedia

@Suite struct VideoDecoderTests {
    private let maker: MediaMaker

    init() throws { maker = try MediaMaker() }

    /// For every codec, container and order of frames, the decoder returns the chosen frames.
    @Test(arguments: [
        ("-c:v libx264 -g 40 -bf 3 -pix_fmt yuv420p", "a.mp4"),
        ("-c:v libx264 -g 40 -x264-params open-gop=1:b-pyramid=normal -pix_fmt yuv420p", "a.mkv"),
        ("-c:v libx264 -x264-params intra-refresh=1:keyint=30 -pix_fmt yuv420p", "b.mkv"),
        ("-c:v libx264 -g 40 -pix_fmt yuv420p", "a.ts"),
        ("-c:v libx264 -g 40 -pix_fmt yuv420p10le", "b.mp4"),
        ("-c:v libx265 -x265-params log-level=none:keyint=40 -pix_fmt yuv420p", "c.mp4"),
        ("-c:v libvpx-vp9 -deadline realtime -cpu-used 8 -g 40 -pix_fmt yuv420p", "a.webm"),
        ("-c:v libvpx -deadline realtime -g 40 -pix_fmt yuv420p", "b.webm"),
        ("-c:v libsvtav1 -preset 12 -g 40 -pix_fmt yuv420p", "d.mp4"),
        ("-c:v mpeg4 -g 40 -bf 2 -q:v 2 -pix_fmt yuv420p", "a.avi"),
        ("-c:v mpeg4 -g 40 -bf 2 -q:v 2 -pix_fmt yuv420p", "a.mov"),
    ])
    func theChosenFramesAreReturned(codec: String, file: String) throws {
        try maker.countingVideo(frames: 100, codec: codec, to: file)
        let decoder = try scanned(VideoDecoder(path: maker.path(file)))
        #expect(decoder.width == Counting.width && decoder.height == Counting.height)
        #expect(decoder.frameCount == 100)
        #expect(abs(decoder.averageFrameRate - 30) < 0.01)
        #expect(abs(decoder.duration - 100.0 / 30) < 0.05)
        #expect(!decoder.hasAudio)
        for wanted in [Array(0..<100), [0, 33, 66, 99], [39, 40, 41, 79, 79, 81], [98], [3], []] {
            #expect(try frames(wanted, of: decoder).map(Counting.number) == wanted)
        }
    }

    @Test func framesOfALongVideoAreFound() throws {
        try maker.countingVideo(
            frames: 10_000, codec: "-c:v libx264 -preset ultrafast -pix_fmt yuv420p", to: "long.mp4")
        let decoder = try scanned(VideoDecoder(path: maker.path("long.mp4")))
        #expect(decoder.frameCount == 10_000)
        let wanted = [0, 1, 2, 777, 778, 4_095, 4_096, 8_191, 9_998, 9_999]
        #expect(try frames(wanted, of: decoder).map(Counting.number) == wanted)
    }

    @Test func framesOfAVariableRateAreCountedInOrder() throws {
        // Two of three frames are dropped from the second half.
        let thin = "-vf select='lt(n\\,50)+not(mod(n\\,3))' -fps_mode vfr -c:v libx264 -pix_fmt yuv420p"
        try maker.countingVideo(frames: 100, codec: thin, to: "vfr.mp4")
        let decoder = try scanned(VideoDecoder(path: maker.path("vfr.mp4")))
        let shown = (0..<100).filter { $0 < 50 || $0 % 3 == 0 }
        #expect(decoder.frameCount == shown.count)
        #expect(try frames(Array(shown.indices), of: decoder).map(Counting.number) == shown)
    }

    /// A video with a marked corner, rotated as a phone does, has the mark at the top left again. ffmpeg's tag states
    /// the player's counterclockwise rotation.
    @Test(arguments: [90, 180, 270]) func rotatedVideosComeOutUpright(degrees: Int) throws {
        let turn = [90: "transpose=1", 180: "hflip,vflip", 270: "transpose=2"][degrees] ?? ""
        let mark = "color=red:s=16x16[m];color=blue:s=96x64[b];[b][m]overlay=0:0"
        try maker.ffmpeg("-filter_complex \(mark),\(turn) -frames:v 5 -c:v libx264 -pix_fmt yuv420p stored.mp4")
        try maker.ffmpeg("-i stored.mp4 -c copy -metadata:s:v rotate=\(degrees) turned.mp4")
        let decoder = try scanned(VideoDecoder(path: maker.path("turned.mp4")))
        #expect(decoder.width == 96 && decoder.height == 64)
        let image = try #require(try frames([2], of: decoder).first)
        #expect(image.width == 96 && image.height == 64)
        #expect(difference(image.pixel(6, 6), [254, 0, 0]) < 12)
        for (x, y) in [(90, 6), (6, 58), (90, 58)] { #expect(difference(image.pixel(x, y), [0, 0, 254]) < 12) }
    }

    /// A color is converted to Y'CbCr by the standards' formulas in Double, encoded, and decoded to the same color.
    @Test(arguments: ["bt709", "bt470bg", "bt2020nc", "unknown"], ["tv", "pc"])
    func theDeclaredMatrixAndRangeAreUsed(matrix: String, range: String) throws {
        let (red, blue) = ["bt709": (0.2126, 0.0722), "bt2020nc": (0.2627, 0.0593)][matrix] ?? (0.299, 0.114)
        for rgb in [[200, 30, 60], [20, 180, 90], [240, 240, 10], [128, 128, 128], [255, 255, 255], [0, 0, 0]] {
            let (r, g, b) = (Double(rgb[0]) / 255, Double(rgb[1]) / 255, Double(rgb[2]) / 255)
            let y = red * r + (1 - red - blue) * g + blue * b
            let (cb, cr) = ((b - y) / (2 * (1 - blue)), (r - y) / (2 * (1 - red)))
            let isFull = range == "pc"
            let luma = UInt8(((isFull ? 0 : 16) + y * (isFull ? 255 : 219)).rounded())
            let chroma = [cb, cr].map { UInt8(min(128 + $0 * (isFull ? 255 : 224), 255).rounded()) }
            let raw =
                [UInt8](repeating: luma, count: 32 * 32) + [UInt8](repeating: chroma[0], count: 256)
                + [UInt8](repeating: chroma[1], count: 256)
            _ = try maker.write(raw, to: "color.raw")
            let declared = "-color_range \(range) -colorspace \(matrix)"
            try maker.ffmpeg(
                "-f rawvideo -pix_fmt yuv420p -s 32x32 \(declared) -i color.raw "
                    + "-c:v libx264 -qp 0 \(declared) color.mp4")
            let decoder = try scanned(VideoDecoder(path: maker.path("color.mp4")))
            let image = try #require(try frames([0], of: decoder).first)
            // Rounding of Y'CbCr: 1, or 2 where a chroma step is as large; libswscale's tables: 1.
            #expect(difference(image.pixel(16, 16), rgb) <= 3, "\(matrix) \(range) \(rgb) \(image.pixel(16, 16))")
        }
    }

    @Test func pathsBytesAndReadersGiveTheSameFrames() throws {
        try maker.countingVideo(frames: 40, codec: "-c:v libx264 -pix_fmt yuv420p", to: "a.mp4")
        let wanted = [3, 20, 39]
        let fromPath = try frames(wanted, of: scanned(VideoDecoder(path: maker.path("a.mp4")))).map(\.bytes)
        let bytes = try maker.bytes("a.mp4")
        #expect(try frames(wanted, of: scanned(VideoDecoder(bytes: bytes))).map(\.bytes) == fromPath)
        let slow = SlowReader(bytes)
        #expect(try frames(wanted, of: scanned(VideoDecoder(reader: slow, name: "slow"))).map(\.bytes) == fromPath)
    }

    @Test func framesAndSoundOfOneReaderCanBeReadAlternately() throws {
        try maker.ffmpeg("-f lavfi -i sine=440:duration=1 tone.wav")
        try maker.countingVideo(frames: 30, codec: "-i tone.wav -c:v libx264 -pix_fmt yuv420p -c:a aac", to: "av.mp4")
        let reader = try MemoryReader(copying: try maker.bytes("av.mp4"))
        let alone = try readAll(try AudioDecoder.open(bytes: maker.bytes("av.mp4")))
        let video = try scanned(VideoDecoder(reader: reader, name: "av"))
        #expect(video.hasAudio)
        let sound = try FFmpegAudioDecoder(reader: reader, name: "av")
        try video.select(Array(0..<30))
        var samples: [Float] = []
        var buffer = [Float](repeating: 0, count: 700)
        for number in 0..<30 {
            #expect(try video.nextFrame().map(Counting.number) == number)
            let count = try buffer.withUnsafeMutableBufferPointer { try sound.read(into: $0) }
            samples += buffer[..<count]
        }
        #expect(samples == Array(alone[..<samples.count]))
    }

    @Test func aMissingSoundTrackIsAnErrorThatSaysSo() throws {
        try maker.countingVideo(frames: 5, codec: "-c:v libx264 -pix_fmt yuv420p", to: "mute.mp4")
        let path = maker.path("mute.mp4")
        let error = try #require(try lyraError { _ = try AudioDecoder.open(path: path) })
        #expect(error.code == .missing)
        #expect(error.message == "\(path): has no audio track that can be decoded")
        try maker.ffmpeg("-f lavfi -i sine=440:duration=1 -c:a aac sound.m4a")
        #expect(try lyraError { _ = try VideoDecoder(path: maker.path("sound.m4a")) }?.code == .missing)
    }

    @Test func videosWithoutFramesAndTextAreErrors() throws {
        try maker.ffmpeg("-f lavfi -i color=red:s=64x64 -frames:v 0 -c:v libx264 -pix_fmt yuv420p none.mkv")
        let none = try lyraError { _ = try scanned(VideoDecoder(path: maker.path("none.mkv"))) }
        #expect(none?.code == .format && none?.message.contains("none.mkv: ") == true)
        let text = try lyraError { _ = try VideoDecoder(bytes: Array("no video".utf8), name: "text.mp4") }
        #expect(text?.code == .format && text?.message.hasPrefix("text.mp4: ") == true)
        #expect(try lyraError { _ = try VideoDecoder(bytes: [], name: "empty") }?.code == .format)
        #expect(try lyraError { _ = try VideoDecoder(path: "/nowhere/a.mp4") }?.code == .io)
    }

    /// A playlist names other files; nothing may open them.
    @Test func playlistsAreNotFollowed() throws {
        try maker.countingVideo(frames: 5, codec: "-c:v libx264 -pix_fmt yuv420p", to: "a.ts")
        let lists = [
            "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n\(maker.path("a.ts"))\n#EXT-X-ENDLIST\n",
            "ffconcat version 1.0\nfile '\(maker.path("a.ts"))'\n",
        ]
        for list in lists {
            #expect(try lyraError { _ = try VideoDecoder(bytes: Array(list.utf8)) }?.code == .format)
        }
    }

    @Test func limitsAreEnforcedAndNamed() throws {
        try maker.countingVideo(frames: 30, codec: "-c:v libx264 -pix_fmt yuv420p", to: "a.mp4")
        func error(_ change: (inout MediaLimits) -> Void) throws -> LyraError? {
            var limits = MediaLimits()
            change(&limits)
            return try lyraError { _ = try scanned(VideoDecoder(path: maker.path("a.mp4"), limits: limits)) }
        }
        for (error, limit) in [
            (try error { $0.videoPixels = Counting.width * Counting.height - 1 }, "limit_pixels"),
            (try error { $0.videoFrames = 29 }, "29 frames"), (try error { $0.videoSeconds = 0.9 }, "limit_seconds"),
            (try error { $0.packetBytes = 10 }, "at most 10"),
        ] {
            #expect(
                error?.code == .memory && error?.message.contains(limit) == true,
                "\(limit): \(String(describing: error))")
        }
        #expect(try error { $0.videoFrames = 30 } == nil)
    }

    @Test func invalidChoicesOfFramesAreErrors() throws {
        try maker.countingVideo(frames: 5, codec: "-c:v libx264 -pix_fmt yuv420p", to: "a.mp4")
        let decoder = try VideoDecoder(path: maker.path("a.mp4"))
        #expect(try lyraError { try decoder.select([0]) }?.code == .state)
        _ = try scanned(decoder)
        for wrong in [[5], [-1], [2, 1]] { #expect(try lyraError { try decoder.select(wrong) }?.code == .argument) }
    }

    @Test func interruptionEndsEveryStep() throws {
        try maker.countingVideo(frames: 60, codec: "-c:v libx264 -pix_fmt yuv420p", to: "a.mp4")
        for calls in [0, 1, 3, 10, 40, 80, 100] {
            var left = calls
            let error = try lyraError {
                let decoder = try VideoDecoder(path: maker.path("a.mp4")) {
                    left -= 1
                    return left < 0
                }
                _ = try frames(Array(0..<60), of: scanned(decoder))
            }
            #expect(error?.code == .state && error?.message.hasSuffix("interrupted") == true)
        }
    }
}

/// A reader that gives a few bytes per read.
private final class SlowReader: ByteReader {
    private let bytes: [UInt8]
    private var offset = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var size: Int64 { Int64(bytes.count) }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int {
        let count = max(0, min(buffer.count, bytes.count - offset, 1_000))
        if count > 0 { buffer.copyBytes(from: bytes[offset..<offset + count]) }
        offset += count
        return count
    }

    func seek(to offset: Int64) { self.offset = Int(min(offset, Int64(bytes.count))) }
}
