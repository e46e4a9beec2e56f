import LyraBase
import CFFmpeg
import Testing

@testable import LyraMedia

/// Packets that can be skipped because no other frame needs them: the same that FFmpeg skips with `-skip_frame noref`.
@Suite struct H264PacketsTests {
    @Test(arguments: ["a.mp4", "a.ts", "a.mkv", "a.h264"], ["none", "normal", "strict"])
    func skippedPacketsAreThoseThatFFmpegSkips(file: String, pyramid: String) throws {
        let maker = try MediaMaker()
        try maker.countingVideo(
            frames: 60,
            codec: "-c:v libx264 -x264-params bframes=3:b-pyramid=\(pyramid):keyint=25 -pix_fmt yuv420p", to: file)
        try maker.ffmpeg("-skip_frame noref -i \(file) -fps_mode passthrough -pix_fmt gray -f rawvideo kept.raw")
        let kept = try maker.bytes("kept.raw").count / (Counting.width * Counting.height)
        let media = try MediaFile(
            reader: FileByteReader(path: maker.path(file)), name: file, limits: MediaLimits(), interrupted: { false })
        let track = try #require(media.bestTrack(AVMEDIA_TYPE_VIDEO))
        let parameters = try #require(media.track(track)).pointee.codecpar.pointee
        let packets = try #require(H264Packets(parameters))
        let packet = try Packet()
        var needed = 0
        while try media.read(track: track, into: packet.pointer) {
            needed += packets.isUnreferenced(packet.pointer.pointee) ? 0 : 1
        }
        #expect(needed == kept)
        #expect(kept < 60)
    }
}
