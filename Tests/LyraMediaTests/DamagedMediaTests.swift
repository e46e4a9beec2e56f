import Foundation
import LyraBase
import Testing

@testable import LyraMedia

/// Damaged images, videos and sound tracks give pixels, samples or a LyraError, and print nothing to stderr.
@Suite(.serialized) struct DamagedMediaTests {
    private let maker: MediaMaker

    init() throws { maker = try MediaMaker() }

    private func pictures() throws -> [[UInt8]] {
        try maker.ffmpeg("-f lavfi -i testsrc2=s=64x48 -frames:v 1 a.png")
        return try ["a.jpg", "b.webp", "a.gif", "a.bmp", "a.tif"].reduce(into: [maker.bytes("a.png")]) { files, name in
            try maker.ffmpeg("-i a.png \(name)")
            files.append(try maker.bytes(name))
        }
    }

    private func videos() throws -> [[UInt8]] {
        try [
            ("-c:v libx264 -pix_fmt yuv420p -movflags faststart", "a.mp4"), ("-c:v libx265 -pix_fmt yuv420p", "b.mkv"),
            ("-c:v libvpx-vp9 -deadline realtime -pix_fmt yuv420p", "c.webm"), ("-c:v mpeg4", "d.avi"),
            ("-c:v libsvtav1 -preset 12 -pix_fmt yuv420p", "e.mp4"), ("-c:v libx264 -pix_fmt yuv420p", "f.ts"),
        ].map { codec, name in
            try maker.countingVideo(frames: 20, codec: codec, to: name)
            return try maker.bytes(name)
        }
    }

    private func sounds() throws -> [[UInt8]] {
        try [
            "-c:a aac a.m4a", "-c:a libopus a.webm", "-c:a aac a.aac", "-c:a libmp3lame a.mp3", "-c:a libvorbis a.mkv",
        ]
        .map { codec in
            try maker.ffmpeg("-f lavfi -i sine=440:duration=1 \(codec)")
            return try maker.bytes(String(codec.split(separator: " ")[2]))
        }
    }

    /// Truncated copies, and copies with a few changed bytes, more often in the headers.
    private func damaged(_ file: [UInt8], copies: Int, using generator: inout SeededGenerator) -> [[UInt8]] {
        (0..<copies).map { copy in
            if copy % 4 == 0 { return Array(file[..<Int.random(in: 0..<file.count, using: &generator)]) }
            var bytes = file
            for _ in 0..<(1 + copy % 3) {
                let end = copy % 2 == 0 ? min(300, file.count) : file.count
                bytes[Int.random(in: 0..<end, using: &generator)] ^= UInt8.random(in: 1...255, using: &generator)
            }
            return bytes
        }
    }

    private func survivesEach(of files: [[UInt8]], copies: Int, _ decode: ([UInt8]) throws -> Void) throws {
        var generator = SeededGenerator(state: 31)
        let printed = try capturingErrors(in: maker) {
            for file in files {
                try decode(file)
                for copy in damaged(file, copies: copies, using: &generator) { _ = try lyraError { try decode(copy) } }
            }
        }
        // Other tests may write to stderr meanwhile, but not as FFmpeg's libraries and libmpg123 do.
        #expect(!printed.contains(" @ 0x") && !printed.contains("libmpg123"), "\(printed.prefix(500))")
    }

    @Test func damagedImagesGivePixelsOrErrors() throws {
        try survivesEach(of: pictures(), copies: 300) { bytes in
            var limits = MediaLimits()
            limits.imagePixels = 1 << 22
            let image = try ImageDecoder.decode(bytes: bytes, limits: limits)
            #expect(image.width > 0)
        }
    }

    @Test func damagedVideosGiveFramesOrErrors() throws {
        try survivesEach(of: videos(), copies: 60) { bytes in
            var limits = MediaLimits()
            limits.videoPixels = 1 << 20
            let decoder = try scanned(VideoDecoder(bytes: bytes, limits: limits))
            let wanted = [0, decoder.frameCount / 2, decoder.frameCount - 1]
            #expect(try frames(wanted, of: decoder).count == 3)
        }
    }

    @Test func damagedSoundsGiveSamplesOrErrors() throws {
        try survivesEach(of: sounds(), copies: 100) { bytes in
            let source = try AudioDecoder.open(bytes: bytes)
            var buffer = [Float](repeating: 0, count: 10_000)
            var total = 0
            while total < 4_000_000 {
                let count = try buffer.withUnsafeMutableBufferPointer { try source.read(into: $0) }
                if count == 0 { break }
                #expect(buffer[..<count].allSatisfy { $0.isFinite })
                total += count
            }
        }
    }

    /// A table of a few bytes can claim 80,000,000 samples, which would take gigabytes.
    @Test func tablesThatClaimTooMuchAreRefused() throws {
        try maker.countingVideo(frames: 20, codec: "-c:v libx264 -pix_fmt yuv420p", to: "plain.mp4")
        try maker.ffmpeg("-i plain.mp4 -c copy -movflags frag_keyframe+empty_moov parts.mp4")
        for (file, table, flags) in [
            ("plain.mp4", "stsz", [UInt8](repeating: 0, count: 4)), ("parts.mp4", "trun", [0, 0, 0, 1]),
        ] {
            var bytes = try maker.bytes(file)
            let place = try #require(bytes.indices.first { bytes[$0...].starts(with: table.utf8) })
            let count: [UInt8] = [4, 0xc4, 0xb4, 0]
            // stsz has one size for all samples; trun has no fields per sample.
            let claim = table == "stsz" ? [0, 0, 0, 1] + count : count
            bytes.replaceSubrange(place + 4..<place + 8 + claim.count, with: flags + claim)
            let error = try #require(try lyraError { _ = try VideoDecoder(bytes: bytes, name: file) })
            #expect(error.code == .memory && error.message.hasPrefix("\(file): its tables claim"))
        }
    }

    /// A text of a few bytes can claim to be a gigabyte, which would be allocated.
    @Test func listsThatClaimTooMuchAreRefused() throws {
        try maker.ffmpeg("-f lavfi -i sine=440:duration=0.1 -metadata title=A a.wav")
        var bytes = try maker.bytes("a.wav")
        let place = try #require(bytes.indices.first { bytes[$0...].starts(with: "LIST".utf8) })
        let reader = try MemoryReader(copying: bytes)
        #expect(try lyraError { try RIFFLists.check(reader, name: "a.wav") {} } == nil)
        for (form, size) in [("RIFF", [0, 0, 0, 0x60]), ("RIFX", [0x60, 0, 0, 0]), ("ID3\u{4}", [0, 0, 0, 0x60])] {
            bytes.replaceSubrange(0..<4, with: form.utf8)
            bytes.replaceSubrange(place + 4..<place + 8, with: size.map(UInt8.init))
            let error = try lyraError {
                _ = try FFmpegAudioDecoder(reader: try MemoryReader(copying: bytes), name: "a.wav")
            }
            #expect(error?.code == .memory && error?.message.hasPrefix("a.wav: a text list of 16106") == true)
        }
    }

    /// Frames that are missing are replaced by the last one before them.
    @Test func aTruncatedVideoRepeatsItsLastFrame() throws {
        try maker.countingVideo(
            frames: 200, codec: "-c:v libx264 -pix_fmt yuv420p -bf 0 -movflags faststart", to: "whole.mp4")
        let whole = try maker.bytes("whole.mp4")
        var last = -1
        for length in [whole.count / 2, whole.count * 3 / 4, whole.count - 10] {
            let decoder = try scanned(VideoDecoder(bytes: Array(whole[..<length])))
            let shown = try frames(Array(0..<decoder.frameCount), of: decoder).map(Counting.number)
            #expect(shown.count == decoder.frameCount)
            let intact = shown.max() ?? 0
            #expect(Array(shown[...intact]) == Array(0...intact))
            #expect(shown[intact...].allSatisfy { $0 == intact })
            #expect(intact > last)
            last = intact
        }
    }
}

/// → what the process writes to stderr while `body` runs
private func capturingErrors(in maker: MediaMaker, _ body: () throws -> Void) throws -> String {
    let path = maker.path("stderr.txt")
    let file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0o600)
    let saved = dup(STDERR_FILENO)
    dup2(file, STDERR_FILENO)
    defer {
        close(file)
        close(saved)
    }
    do {
        try body()
    } catch {
        dup2(saved, STDERR_FILENO)
        throw error
    }
    fflush(nil)
    dup2(saved, STDERR_FILENO)
    return try String(decoding: Data(contentsOf: URL(filePath: path)), as: UTF8.self)
}
