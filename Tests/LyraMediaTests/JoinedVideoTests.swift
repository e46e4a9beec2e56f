import CFFmpeg
import Foundation
import LyraBase
import Testing

@testable import LyraMedia

/// Videos whose timestamps go back, jump or restart have the frames that the ffmpeg command decodes, in its order.
@Suite struct JoinedVideoTests {
    private let maker: MediaMaker

    init() throws { maker = try MediaMaker() }

    private func numbers(_ name: String, _ wanted: [Int]? = nil) throws -> (numbers: [Int], duration: Double) {
        let decoder = try scanned(VideoDecoder(path: maker.path(name)))
        let shown = try frames(wanted ?? Array(0..<decoder.frameCount), of: decoder).map(Counting.number)
        return (shown, decoder.duration)
    }

    /// A packet without a picture has the timestamp of the next packet, and does not count as a missing frame.
    @Test func packetsThatShareATimeAreOneFrame() throws {
        let index = VideoIndex(tick: 0.001, hasTimes: true, timesMayJump: false, counter: TimeCounter(bits: 64))
        for (time, isKey) in [(0, true), (33, false), (33, false), (66, false), (99, false), (99, false)] {
            var packet = AVPacket()
            (packet.pts, packet.dts, packet.size) = (Int64(time), Int64(time), 1)
            packet.flags = isKey ? AV_PKT_FLAG_KEY : 0
            try index.add(packet)
        }
        index.finish()
        #expect(index.count == 6 && index.decoded(0...5) == 4 && index.decoded(1...2) == 1)
        index.markSkipped(66)
        #expect(index.decoded(0...5) == 3)
    }

    /// Two transport streams of 30 frames, each from time 0. The left half of frame n is grey 16 + 3n. ffmpeg 5.1
    /// decodes all 60 in order.
    @Test func bothHalvesOfAJoinedTransportStreamAreDecoded() throws {
        let decoder = try scanned(VideoDecoder(path: faultPath("restart.ts")))
        #expect(decoder.frameCount == 60 && abs(decoder.duration - 6) < 0.01)
        for wanted in [Array(0..<60), [0, 5, 11, 16, 21, 27, 32, 38, 43, 48, 54, 59], [59], [31, 58]] {
            let greys = try frames(wanted, of: decoder).map { $0.pixel($0.width / 4, $0.height / 2)[0] }
            // Within the loss of the codec.
            #expect(greys.count == wanted.count)
            for (grey, number) in zip(greys, wanted) { #expect(abs(grey - 16 - 3 * number) <= 4, "frame \(number)") }
        }
    }

    private static let h264 = "-c:v libx264 -preset veryfast -g 12 -bf 2 -pix_fmt yuv420p"
    private static let open =
        "-c:v libx264 -preset veryfast -x264-params open-gop=1:keyint=12:bframes=3 -pix_fmt yuv420p"
    private static let mpeg2 = "-c:v mpeg2video -q:v 2 -g 12 -bf 2 -pix_fmt yuv420p"

    /// The second stream begins at 0 like the first, within it, after it, or shortly before 33-bit timestamps wrap; and
    /// the same in the other order.
    @Test(arguments: [h264, open, mpeg2])
    func timesOfJoinedTransportStreamsContinue(codec: String) throws {
        try maker.countingVideo(frames: 30, codec: codec, to: "a.ts")
        let begins = ["0", "0.5", "100", "40000", "95440"]
        let outputs = begins.map { "\(codec) -output_ts_offset \($0) b\($0).ts" }.joined(separator: " ")
        try maker.countingVideo(frames: 30, from: 30, codec: outputs, to: "")
        let (first, second) = (Array(0..<30), Array(30..<60))
        for begin in begins {
            for (names, right) in [
                (["a.ts", "b\(begin).ts"], first + second), (["b\(begin).ts", "a.ts"], second + first),
            ] {
                try maker.join(names, to: "joined.ts")
                #expect(try numbers("joined.ts").numbers == right, "\(names)")
                let some = [0, 17, 29, 30, 31, 44, 59]
                #expect(try numbers("joined.ts", some).numbers == some.map { right[$0] }, "\(names)")
            }
        }
    }

    /// 2^33 ticks of 90 kHz are 95,443.7 s.
    @Test(arguments: [h264, mpeg2])
    func timesThatWrapContinue(codec: String) throws {
        try maker.countingVideo(frames: 90, codec: codec + " -output_ts_offset 95440.5", to: "wrap.ts")
        let (shown, duration) = try numbers("wrap.ts")
        #expect(shown == Array(0..<90) && abs(duration - 3) < 0.05)
        try maker.countingVideo(frames: 30, codec: codec, to: "a.ts")
        try maker.join(["a.ts", "wrap.ts", "a.ts"], to: "three.ts")
        let right = Array(0..<30) + Array(0..<90) + Array(0..<30)
        #expect(try numbers("three.ts").numbers == right)
        let some = [29, 30, 85, 86, 87, 88, 119, 120, 149]
        #expect(try numbers("three.ts", some).numbers == some.map { right[$0] })
    }

    @Test func otherJoinedContainersAreDecodedToTheEnd() throws {
        for (name, codec) in [
            ("m2ts", Self.h264 + " -f mpegts -mpegts_m2ts_mode 1"), ("mkv", Self.h264),
            ("mpg", Self.mpeg2 + " -r 25 -f vob"),
            ("webm", "-c:v libvpx -deadline realtime -b:v 1M"), ("h264", Self.h264),
        ] {
            let rate = name == "mpg" ? "25" : "30"
            try maker.countingVideo(frames: 30, codec: codec, to: "a.\(name)", rate: rate)
            try maker.countingVideo(frames: 30, from: 30, codec: codec, to: "b.\(name)", rate: rate)
            try maker.join(["a.\(name)", "b.\(name)"], to: "joined.\(name)")
            let (shown, duration) = try numbers("joined.\(name)")
            #expect(shown == Array(0..<60), "\(name)")
            #expect(abs(duration - (name == "mpg" ? 2.4 : 2)) < 0.05, "\(name)")
        }
    }

    /// In the second half of an FLV, 1 s is subtracted from the timestamps.
    @Test func timesThatGoBackWithinAFileContinue() throws {
        try maker.countingVideo(frames: 60, codec: "-c:v flv -q:v 2 -g 10 -pix_fmt yuv420p", to: "a.flv")
        var bytes = try maker.bytes("a.flv")
        func big(_ place: Int) -> Int { bytes[place..<place + 3].reduce(0) { $0 << 8 | Int($1) } }
        var (place, frame) = (13, 0)
        while place + 11 < bytes.count {
            let length = big(place + 1)
            if bytes[place] == 9 {
                let time = big(place + 4) - 1000
                if frame >= 30 {
                    for index in 0..<3 { bytes[place + 4 + index] = UInt8(time >> (16 - 8 * index) & 255) }
                }
                frame += 1
            }
            place += 11 + length + 4
        }
        _ = try maker.write(bytes, to: "back.flv")
        let (shown, duration) = try numbers("back.flv")
        #expect(shown == Array(0..<60) && abs(duration - 2) < 0.05)
    }

    @Test func bareStreamsAndOlderContainersAreOpened() throws {
        for (name, codec) in [
            ("a.h264", Self.h264), ("a.hevc", "-c:v libx265 -x265-params log-level=none -pix_fmt yuv420p"),
            ("a.nut", Self.h264), ("a.m4v", "-c:v mpeg4 -q:v 2 -pix_fmt yuv420p"),
        ] {
            try maker.countingVideo(frames: 30, codec: codec, to: name)
            #expect(try numbers(name).numbers == Array(0..<30), "\(name)")
        }
        let bars = "-f lavfi -i smptebars=s=720x576:r=25:d=0.2"
        try maker.ffmpeg("\(bars) -c:v dvvideo -pix_fmt yuv420p a.dv -frames:v 1 -pix_fmt rgb24 -f rawvideo a.rgb")
        let decoder = try scanned(VideoDecoder(path: maker.path("a.dv")))
        #expect(decoder.frameCount == 5 && decoder.width == 720 && decoder.height == 576)
        let (image, right) = (try #require(frames([0], of: decoder).first), try maker.bytes("a.rgb"))
        for column in stride(from: 40, to: 720, by: 100) {
            let place = (100 * 720 + column) * 3
            #expect(difference(image.pixel(column, 100), right[place..<place + 3].map(Int.init)) <= 8)
        }
    }

    /// QuickTime's own compression of the index with zlib ("cmov").
    @Test func aCompressedIndexIsReadOrRefused() throws {
        try maker.countingVideo(frames: 20, codec: "-c:v mjpeg -q:v 2 -pix_fmt yuvj420p", to: "a.mov")
        let bytes = try maker.bytes("a.mov")
        let place = try #require(bytes.indices.first { bytes[$0...].starts(with: "moov".utf8) }) - 4
        let index = Array(bytes[place...])
        func box(_ name: String, _ body: [UInt8]) -> [UInt8] { Self.big(8 + body.count) + Array(name.utf8) + body }
        let packed = box("cmvd", Self.big(index.count) + Self.stored(index))
        let compressed = box("moov", box("cmov", box("dcom", Array("zlib".utf8)) + packed))
        _ = try maker.write(Array(bytes[..<place]) + compressed, to: "cmov.mov")
        #expect(try numbers("cmov.mov").numbers == Array(0..<20))
    }

    private static func big(_ value: Int) -> [UInt8] { withUnsafeBytes(of: UInt32(value).bigEndian) { Array($0) } }

    /// A zlib stream (RFC 1950) of one stored block (RFC 1951, 3.2.4).
    private static func stored(_ bytes: [UInt8]) -> [UInt8] {
        let (low, high) = (UInt8(bytes.count & 255), UInt8(bytes.count >> 8))
        let (a, b) = bytes.reduce((1, 0)) { sums, byte in
            let a = (sums.0 + Int(byte)) % 65_521
            return (a, (sums.1 + a) % 65_521)
        }
        return [0x78, 0x01, 1, low, high, ~low, ~high] + bytes + big(b << 16 | a)
    }
}
