import Foundation

/// Media files in a directory of their own, which is removed with the object.
final class MediaFiles {
    private let directory = FileManager.default.temporaryDirectory.appending(path: "lyra-data-\(UUID().uuidString)")

    init() throws { try FileManager.default.createDirectory(at: directory, withIntermediateDirectories: true) }

    deinit { try? FileManager.default.removeItem(at: directory) }

    func path(_ name: String) -> String { directory.appending(path: name).path }

    func write(_ bytes: [UInt8], to name: String) throws -> String {
        try Data(bytes).write(to: URL(filePath: path(name)))
        return path(name)
    }

    func write(_ text: String, to name: String) throws -> String { try write(Array(text.utf8), to: name) }

    /// A WAV of 16 bits, mono.
    func recording(_ samples: [Float], sampleRate: Int = 16_000, to name: String = "speech.wav") throws -> String {
        let data = samples.flatMap { Self.little(UInt16(bitPattern: Int16($0 * 32_767))) }
        var bytes = Array("RIFF".utf8) + Self.little(UInt32(36 + data.count)) + Array("WAVEfmt ".utf8)
        bytes += Self.little(UInt32(16)) + Self.little(UInt16(1)) + Self.little(UInt16(1))
        bytes += Self.little(UInt32(sampleRate)) + Self.little(UInt32(2 * sampleRate))
        bytes += Self.little(UInt16(2)) + Self.little(UInt16(16))
        return try write(bytes + Array("data".utf8) + Self.little(UInt32(data.count)) + data, to: name)
    }

    /// A tone, which no silence test rejects.
    func tone(samples: Int, sampleRate: Int = 16_000, to name: String = "speech.wav") throws -> String {
        try recording((0..<samples).map { 0.3 * sin(0.05 * Float($0)) }, sampleRate: sampleRate, to: name)
    }

    /// An uncompressed BMP in which every pixel has another color.
    func image(width: Int, height: Int, to name: String = "image.bmp") throws -> String {
        let row = (3 * width + 3) / 4 * 4
        var bytes = Array("BM".utf8) + Self.little(UInt32(54 + row * height)) + Self.little(UInt32(0))
        bytes += Self.little(UInt32(54)) + Self.little(UInt32(40))
        bytes += Self.little(UInt32(width)) + Self.little(UInt32(height)) + Self.little(UInt16(1))
        bytes += Self.little(UInt16(24)) + [UInt8](repeating: 0, count: 24)
        for y in 0..<height {
            for x in 0..<width { bytes += [UInt8(x * 5 & 255), UInt8(y * 7 & 255), UInt8((x + y) & 255)] }
            bytes += [UInt8](repeating: 0, count: row - 3 * width)
        }
        return try write(bytes, to: name)
    }

    /// A video of 56 × 28 pixels whose brightness changes, at 10 frames a second.
    func video(frames: Int, to name: String = "video.avi") throws -> String {
        var raw: [UInt8] = []
        for frame in 0..<frames { raw += [UInt8](repeating: UInt8(20 + 10 * (frame % 20)), count: 56 * 28) }
        let source = try write(raw, to: "frames.raw")
        let process = Process()
        process.executableURL = URL(filePath: "/usr/bin/env")
        let input = "ffmpeg -nostdin -v error -y -f rawvideo -pix_fmt gray -s 56x28 -r 10 -i".split(separator: " ")
        process.arguments = input.map(String.init) + [source, "-c:v", "ffv1", path(name)]
        try process.run()
        process.waitUntilExit()
        return path(name)
    }

    private static func little<T: FixedWidthInteger>(_ value: T) -> [UInt8] {
        withUnsafeBytes(of: value.littleEndian) { Array($0) }
    }
}
