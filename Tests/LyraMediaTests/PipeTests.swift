import LyraBase
import Foundation
import Glibc
import Testing

@testable import LyraMedia

/// A pipe is read like a file of the same bytes.
@Suite struct PipeTests {
    private let maker: MediaMaker

    init() throws { maker = try MediaMaker() }

    /// A named pipe, into which another thread writes the bytes.
    private func fifo(_ bytes: [UInt8], _ name: String) throws -> String {
        let path = maker.path(name)
        #expect(mkfifo(path, 0o600) == 0)
        Thread.detachNewThread { write(bytes, to: open(path, O_WRONLY)) }
        return path
    }

    @Test func soundVideoAndPicturesComeThroughAPipe() throws {
        try maker.glides("a.wav", rate: 44_100, channels: 2, seed: 1)
        try maker.ffmpeg(
            "-i a.wav a.mp3 -c:a aac a.mp4 -c:a libvorbis a.ogg -c:a flac a.flac -c:a alac a.caf -c:a aac a.mov")
        for name in ["a.wav", "a.mp3", "a.mp4", "a.ogg", "a.flac", "a.caf", "a.mov"] {
            let path = try fifo(maker.bytes(name), "pipe-\(name)")
            #expect(try decodedSamples(path) == decodedSamples(maker.path(name)), "\(name)")
        }
        try maker.countingVideo(frames: 20, codec: "-c:v libx264 -pix_fmt yuv420p", to: "v.mp4")
        let video = try scanned(VideoDecoder(path: fifo(maker.bytes("v.mp4"), "pipe-video")))
        #expect(try frames(Array(0..<20), of: video).map(Counting.number) == Array(0..<20))
        try maker.ffmpeg("-i v.mp4 -frames:v 1 -update 1 p.png")
        let image = try ImageDecoder.decode(path: fifo(maker.bytes("p.png"), "pipe-picture"))
        #expect(try image.bytes == ImageDecoder.decode(path: maker.path("p.png")).bytes)
    }

    /// As a shell names the pipe of `<(command)`.
    @Test func aDescriptorOfAPipeIsAPath() throws {
        let bytes = floatWAV(glides(seconds: 2, rate: 16_000, seed: 2))
        for prefix in ["/dev/fd/", "/proc/self/fd/"] {
            var ends: [Int32] = [0, 0]
            #expect(pipe(&ends) == 0)
            let target = ends[1]
            Thread.detachNewThread { write(bytes, to: target) }
            #expect(try decodedSamples("\(prefix)\(ends[0])") == readAll(AudioDecoder.open(bytes: bytes)))
            close(ends[0])
        }
    }

    @Test func aSocketIsRead() throws {
        let bytes = floatWAV(glides(seconds: 2, rate: 16_000, seed: 3))
        var ends: [Int32] = [0, 0]
        #expect(socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0, &ends) == 0)
        let target = ends[1]
        Thread.detachNewThread { write(bytes, to: target) }
        #expect(try decodedSamples("/dev/fd/\(ends[0])") == readAll(AudioDecoder.open(bytes: bytes)))
        close(ends[0])
    }

    @Test func aPipeThatGivesTooMuchIsRefused() throws {
        var limits = MediaLimits()
        limits.spoolBytes = 100_000
        let path = try fifo([UInt8](repeating: 1, count: 200_000), "much")
        let error = try #require(try lyraError { _ = try AudioDecoder.open(path: path, limits: limits) })
        #expect(error.code == .memory && error.message.contains("limit for a pipe"))
        #expect(
            try FileByteReader(path: fifo([UInt8](repeating: 1, count: 100_000), "fits"), limits: limits).size
                == 100_000)
    }

    @Test func waitingForAPipeCanBeInterrupted() throws {
        let path = maker.path("quiet")
        #expect(mkfifo(path, 0o600) == 0)
        var questions = 0
        let error = try #require(
            try lyraError {
                _ = try AudioDecoder.open(
                    path: path,
                    interrupted: {
                        questions += 1
                        return questions > 3
                    })
            })
        #expect(error.code == .state && questions == 4)
    }

    @Test func endlessDevicesAndDirectoriesAreRefused() throws {
        for path in ["/dev/zero", "/dev/urandom", "/tmp", "/nowhere/a.wav"] {
            let error = try #require(try lyraError { _ = try FileByteReader(path: path) })
            #expect(error.code == .io && error.message.hasPrefix("\(path): "))
        }
        #expect(try lyraError { _ = try AudioDecoder.open(path: "/dev/null") }?.message == "/dev/null: empty: 0 bytes")
        #expect(try lyraError { _ = try FileByteReader(regularFile: "/dev/null") }?.code == .io)
    }
}

/// Writes all bytes, or until the reader is closed, and closes the descriptor.
private func write(_ bytes: [UInt8], to descriptor: Int32) {
    signal(SIGPIPE, SIG_IGN)
    var place = 0
    while place < bytes.count {
        let count = bytes[place...].withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, min($0.count, 10_000)) }
        guard count > 0 else { break }
        place += count
    }
    close(descriptor)
}
