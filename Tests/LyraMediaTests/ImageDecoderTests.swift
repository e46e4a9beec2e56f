import Foundation
import LyraBase
import Testing

@testable import LyraMedia

@Suite struct ImageDecoderTests {
    private let maker: MediaMaker

    init() throws { maker = try MediaMaker() }

    /// A PNG without compression: rows of samples, each row preceded by the filter 0.
    private func png(
        width: Int, height: Int, depth: Int, color: Int, rows: [[UInt8]], chunks: [(String, [UInt8])] = []
    ) -> [UInt8] {
        func big(_ value: Int) -> [UInt8] { [24, 16, 8, 0].map { UInt8(truncatingIfNeeded: value >> $0) } }
        func chunk(_ name: String, _ data: [UInt8]) -> [UInt8] {
            var crc: UInt32 = 0xffff_ffff
            for byte in Array(name.utf8) + data {
                crc ^= UInt32(byte)
                for _ in 0..<8 { crc = crc & 1 == 1 ? crc >> 1 ^ 0xedb8_8320 : crc >> 1 }
            }
            return big(data.count) + Array(name.utf8) + data + big(Int(crc ^ 0xffff_ffff))
        }
        let raw: [UInt8] = rows.flatMap { row in [0] + row }
        // zlib's stored block, and its checksum.
        var (a, b) = (1, 0)
        for byte in raw {
            a = (a + Int(byte)) % 65_521
            b = (b + a) % 65_521
        }
        let (low, high) = (UInt8(raw.count & 255), UInt8(raw.count >> 8))
        let head: [UInt8] = [0x78, 1, 1, low, high, ~low, ~high]
        let stored: [UInt8] = head + raw + big(b << 16 | a)
        var file: [UInt8] = [0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]
        file += chunk("IHDR", big(width) + big(height) + [UInt8(depth), UInt8(color), 0, 0, 0])
        for (name, data) in chunks { file += chunk(name, data) }
        return file + chunk("IDAT", stored) + chunk("IEND", [])
    }

    /// c · a + 255 · (1 - a), rounded, with a in 255ths.
    private func onWhite(_ value: Int, _ alpha: Int) -> Int {
        Int((Double(value * alpha + 255 * (255 - alpha)) / 255).rounded())
    }

    @Test func pngsOfEveryColorTypeAreExact() throws {
        var generator = SeededGenerator(state: 41)
        let (width, height) = (13, 7)
        for (color, samples) in [(0, 1), (2, 3), (4, 2), (6, 4)] {
            for depth in [8, 16] {
                let rows = (0..<height).map { _ in
                    (0..<width * samples * depth / 8).map { _ in UInt8.random(in: 0...255, using: &generator) }
                }
                let file = png(width: width, height: height, depth: depth, color: color, rows: rows)
                let image = try ImageDecoder.decode(bytes: file)
                #expect(image.width == width && image.height == height)
                for y in 0..<height {
                    for x in 0..<width {
                        let sample = (0..<samples).map { Int(rows[y][(x * samples + $0) * depth / 8]) }
                        let alpha = samples % 2 == 0 ? sample[samples - 1] : 255
                        let rgb = samples < 3 ? [sample[0], sample[0], sample[0]] : Array(sample[..<3])
                        #expect(image.pixel(x, y) == rgb.map { onWhite($0, alpha) })
                    }
                }
            }
        }
    }

    @Test func palettesAndDepthsBelow8AreExact() throws {
        let palette: [UInt8] = [10, 20, 30, 200, 100, 0, 0, 255, 0, 7, 7, 7]
        let indices = png(
            width: 5, height: 1, depth: 2, color: 3, rows: [[0b00_01_10_11, 0b01_00_00_00]],
            chunks: [("PLTE", palette), ("tRNS", [255, 255, 0, 128])])
        let image = try ImageDecoder.decode(bytes: indices)
        let half = (0..<3).map { _ in onWhite(7, 128) }
        let wanted = [[10, 20, 30], [200, 100, 0], [255, 255, 255], half, [200, 100, 0]]
        #expect((0..<5).map { image.pixel($0, 0) } == wanted)
        for depth in [1, 2, 4] {
            let grey = try ImageDecoder.decode(
                bytes: png(width: 8 / depth, height: 1, depth: depth, color: 0, rows: [[0b1011_0100]]))
            let levels = (1 << depth) - 1
            for x in 0..<8 / depth {
                let value = 0b1011_0100 >> (8 - depth - x * depth) & levels
                #expect(grey.pixel(x, 0) == [Int](repeating: value * 255 / levels, count: 3))
            }
        }
    }

    @Test func anImageOfOnePixelIsDecoded() throws {
        let image = try ImageDecoder.decode(bytes: png(width: 1, height: 1, depth: 8, color: 2, rows: [[1, 2, 3]]))
        #expect(image.width == 1 && image.height == 1 && image.pixel(0, 0) == [1, 2, 3])
    }

    /// EXIF data with one entry: the orientation.
    private func exif(_ value: Int, big: Bool) -> [UInt8] {
        func word(_ value: Int, _ count: Int) -> [UInt8] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: value >> ($0 * 8)) }
            return big ? bytes.reversed() : bytes
        }
        let words = [(42, 2), (8, 4), (1, 2), (0x112, 2), (3, 2), (1, 4), (value, 2), (0, 2), (0, 4)]
        return Array((big ? "MM" : "II").utf8) + words.flatMap(word)
    }

    /// Where the stored image's first row and column are shown, by EXIF's values 1 … 8.
    private static let places = [
        ("top", "left"), ("top", "right"), ("bottom", "right"), ("bottom", "left"), ("left", "top"), ("right", "top"),
        ("right", "bottom"), ("left", "bottom"),
    ]

    @Test(arguments: 1...8, [false, true]) func orientationIsApplied(value: Int, big: Bool) throws {
        // Stored: 3 wide, 2 high, the value of a pixel is 10 · row + column.
        let file = png(
            width: 3, height: 2, depth: 8, color: 0, rows: [[0, 1, 2], [10, 11, 12]],
            chunks: [("eXIf", exif(value, big: big))])
        let image = try ImageDecoder.decode(bytes: file)
        let (row0, column0) = Self.places[value - 1]
        let isTurned = row0 == "left" || row0 == "right"
        #expect(image.width == (isTurned ? 2 : 3) && image.height == (isTurned ? 3 : 2))
        #expect(try ImageDecoder.size(bytes: file) == PixelSize(width: image.width, height: image.height))
        for row in 0..<2 {
            for column in 0..<3 {
                let along = [row0: row, column0: column]
                let x = along["left"] ?? along["right"].map { image.width - 1 - $0 } ?? -1
                let y = along["top"] ?? along["bottom"].map { image.height - 1 - $0 } ?? -1
                #expect(image.pixel(x, y)[0] == 10 * row + column)
            }
        }
    }

    @Test func orientationOfAJPEGIsApplied() throws {
        try maker.ffmpeg(
            "-filter_complex color=red:s=16x16[m];color=blue:s=64x32[b];[b][m]overlay=0:0 -frames:v 1 -q:v 2 a.jpg")
        let plain = try maker.bytes("a.jpg")
        let data = Array("Exif\0\0".utf8) + exif(6, big: false)
        let length = data.count + 2
        let segment: [UInt8] = [0xff, 0xe1, UInt8(length >> 8), UInt8(length & 255)] + data
        let turned: [UInt8] = Array(plain[..<2]) + segment + Array(plain[2...])
        let image = try ImageDecoder.decode(bytes: turned)
        #expect(image.width == 32 && image.height == 64)
        #expect(try ImageDecoder.size(bytes: turned) == PixelSize(width: 32, height: 64))
        // The first column of the stored picture is at the top, its first row at the right.
        #expect(difference(image.pixel(26, 5), [254, 0, 0]) < 24)
        #expect(difference(image.pixel(5, 5), [0, 0, 254]) < 24)
    }

    /// A smooth image that a formula gives differs after a lossy format by at most 2.5 on average and 16 anywhere, for
    /// every chroma subsampling. A wrong matrix, range or shift differs by more.
    @Test(arguments: [
        ("-pix_fmt yuvj420p -q:v 1 -qmin 1", "a.jpg"), ("-pix_fmt yuvj422p -q:v 1 -qmin 1", "b.jpg"),
        ("-pix_fmt yuvj444p -q:v 1 -qmin 1", "c.jpg"), ("-c:v libwebp -quality 98", "a.webp"),
        ("-c:v libwebp -lossless 1 -pix_fmt bgra", "b.webp"), ("-c:v bmp", "a.bmp"), ("-c:v tiff", "a.tif"),
        ("-c:v png", "a.png"),
    ])
    func smoothImagesSurviveLossyFormats(codec: String, name: String) throws {
        let (width, height) = (66, 44)
        var wanted: [Int] = []
        for y in 0..<height {
            for x in 0..<width { wanted += [x * 3 + 20, y * 4 + 30, 220 - x - 2 * y] }
        }
        _ = try maker.write(wanted.map { UInt8($0) }, to: "a.raw")
        try maker.ffmpeg("-f rawvideo -pix_fmt rgb24 -s \(width)x\(height) -i a.raw -frames:v 1 \(codec) \(name)")
        let image = try ImageDecoder.decode(path: maker.path(name))
        #expect(image.width == width && image.height == height)
        // A TIFF has its size anywhere.
        let size = name == "a.tif" ? nil : PixelSize(width: width, height: height)
        #expect(try ImageDecoder.size(bytes: maker.bytes(name)) == size)
        let differences = zip(image.bytes, wanted).map { abs(Int($0) - $1) }
        let isLossless = !name.hasSuffix("jpg") && name != "a.webp"
        #expect(differences.max() ?? 99 <= (isLossless ? 0 : 16))
        #expect(Double(differences.reduce(0, +)) / Double(differences.count) <= (isLossless ? 0 : 2.5))
    }

    @Test func anAnimationGivesItsFirstFrame() throws {
        try maker.ffmpeg(
            "-f lavfi -i color=red:s=32x16:r=5 -f lavfi -i color=blue:s=32x16:r=5 "
                + "-filter_complex [0]trim=end_frame=1[a];[1]trim=end_frame=1[b];[a][b]concat both.mkv")
        try maker.ffmpeg("-i both.mkv a.gif")
        try maker.ffmpeg("-i both.mkv -c:v libwebp_anim -lossless 1 a.webp")
        for name in ["a.gif", "a.webp"] {
            let image = try ImageDecoder.decode(path: maker.path(name))
            #expect(image.width == 32 && image.height == 16)
            #expect(difference(image.pixel(16, 8), [254, 0, 0]) <= 4)
        }
    }

    @Test func decompressionBombsAreRefusedWithTheLimit() throws {
        var header = png(width: 1, height: 1, depth: 8, color: 2, rows: [[1, 2, 3]])
        header.replaceSubrange(16..<24, with: [0, 0, 0xea, 0x60, 0, 0, 0xea, 0x60])
        let bomb = try #require(try lyraError { _ = try ImageDecoder.decode(bytes: header, name: "bomb.png") })
        #expect(bomb.code == .memory)
        #expect(bomb.message.hasPrefix("bomb.png: a PNG image of 60000 × 60000 pixels; limit_pixels allows"))
        let small = png(width: 10, height: 10, depth: 8, color: 0, rows: Array(repeating: Array(0..<10), count: 10))
        var limits = MediaLimits()
        limits.imagePixels = 99
        #expect(try lyraError { _ = try ImageDecoder.decode(bytes: small, limits: limits) }?.code == .memory)
        limits.imagePixels = 100
        #expect(try ImageDecoder.decode(bytes: small, limits: limits).width == 10)
        limits.imageBytes = small.count - 1
        #expect(try lyraError { _ = try ImageDecoder.decode(bytes: small, limits: limits) }?.code == .memory)
    }

    @Test func dataThatIsNotAnImageIsAnErrorThatNamesTheFile() throws {
        for (bytes, name) in [
            ([], "empty.png"), (Array("no picture".utf8), "text.png"), ([0xff, 0xd8, 0xff], "stub.jpg"),
        ] {
            let error = try #require(try lyraError { _ = try ImageDecoder.decode(bytes: bytes, name: name) })
            #expect(error.code == .format && error.message.hasPrefix("\(name): "))
        }
        #expect(try lyraError { _ = try ImageDecoder.decode(path: "/nowhere/a.png") }?.code == .io)
        let file = png(width: 1, height: 1, depth: 8, color: 2, rows: [[1, 2, 3]])
        let error = try lyraError { _ = try ImageDecoder.decode(bytes: file, name: "a.png") { true } }
        #expect(error == LyraError(.state, "a.png: interrupted"))
    }

    @Test func pathsBytesAndReadersGiveTheSamePixels() throws {
        try maker.ffmpeg("-f lavfi -i testsrc2=s=160x120 -frames:v 1 a.jpg")
        let bytes = try maker.bytes("a.jpg")
        let image = try ImageDecoder.decode(path: maker.path("a.jpg")).bytes
        #expect(try ImageDecoder.decode(bytes: bytes).bytes == image)
        #expect(try ImageDecoder.decode(reader: LyingReader(bytes, size: 10), name: "short").bytes == image)
        #expect(try ImageDecoder.decode(reader: LyingReader(bytes, size: 1 << 20), name: "long").bytes == image)
    }
}

/// A reader that states a false size.
private final class LyingReader: ByteReader {
    private let reader: MemoryReader
    let size: Int64

    init(_ bytes: [UInt8], size: Int64) throws {
        reader = try MemoryReader(copying: bytes)
        self.size = size
    }

    func read(into buffer: UnsafeMutableRawBufferPointer) -> Int { reader.read(into: buffer) }

    func seek(to offset: Int64) { reader.seek(to: offset) }
}
