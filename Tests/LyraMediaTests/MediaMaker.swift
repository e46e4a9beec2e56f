import Foundation

@testable import LyraMedia

/// Makes media with the ffmpeg command in a directory of its own, which is removed with the object.
final class MediaMaker {
    struct Failure: Error { let arguments: [String] }

    let directory = FileManager.default.temporaryDirectory.appending(path: "lyra-media-\(UUID().uuidString)")

    init() throws { try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(at: directory) }

    func path(_ name: String) -> String { directory.appending(path: name).path }

    func bytes(_ name: String) throws -> [UInt8] { try [UInt8](Data(contentsOf: URL(filePath: path(name)))) }

    func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(filePath: path(name)))
        return path(name)
    }

    /// Runs ffmpeg in the directory, quietly.
    func ffmpeg(_ arguments: String) throws {
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        process.arguments =
            ["ffmpeg", "-nostdin", "-v", "error", "-y"] + arguments.split(separator: " ").map(String.init)
        process.currentDirectoryURL = directory
        // x265 and SVT-AV1 print banners whatever the log level.
        process.standardError = FileHandle.nullDevice
        process.standardOutput = FileHandle.nullDevice
        try process.run()
        process.waitUntilExit()
        guard process.terminationStatus == 0 else { throw Failure(arguments: process.arguments ?? []) }
    }

    /// A video in which every frame shows its number: 14 bars of 8 pixels, white for a set bit, the lowest bit left.
    /// - Parameter first: The first frame's number.
    func countingVideo(
        frames: Int, from first: Int = 0, codec: String, to name: String, rate: String = "30"
    ) throws {
        var raw = [UInt8](repeating: 16, count: frames * Counting.width * Counting.height)
        for frame in 0..<frames {
            for bit in 0..<Counting.bits where (first + frame) >> bit & 1 == 1 {
                for row in 0..<Counting.height {
                    let start = (frame * Counting.height + row) * Counting.width + bit * 8
                    for column in start..<start + 8 { raw[column] = 235 }
                }
            }
        }
        _ = try write(raw, to: "counting.raw")
        let size = "\(Counting.width)x\(Counting.height)"
        try ffmpeg("-f rawvideo -pix_fmt gray -s \(size) -r \(rate) -i counting.raw \(codec) \(name)")
    }
}

enum Counting {
    static let bits = 14
    static let width = bits * 8
    static let height = 64

    /// The number that a frame of a counting video shows.
    static func number(in image: RGBImage) -> Int {
        (0..<bits).reduce(0) { $0 | (image.pixel($1 * 8 + 3, height / 2)[1] > 128 ? 1 << $1 : 0) }
    }
}

extension RGBImage {
    func pixel(_ x: Int, _ y: Int) -> [Int] {
        withPixels { pixels in (0..<3).map { Int(pixels[(y * width + x) * 3 + $0]) } }
    }

    var bytes: [UInt8] { withPixels { Array(UnsafeBufferPointer(start: $0, count: width * height * 3)) } }
}

/// The largest difference of two colours' channels.
func difference(_ a: [Int], _ b: [Int]) -> Int { zip(a, b).map { abs($0 - $1) }.max() ?? 0 }

func scanned(_ decoder: VideoDecoder) throws -> VideoDecoder {
    while try !decoder.scan(packets: 64) {}
    return decoder
}

func frames(_ indices: [Int], of decoder: VideoDecoder) throws -> [RGBImage] {
    try decoder.select(indices)
    var images: [RGBImage] = []
    while let image = try decoder.nextFrame() { images.append(image) }
    return images
}
