import LyraBase

@testable import LyraMedia

/// Decoders of files in memory, opened through a reader as in sessions.
extension AudioDecoder {
    static func open(
        bytes: [UInt8], name: String = "audio in memory", limits: MediaLimits = MediaLimits(),
        interrupted: @escaping () -> Bool = { false }
    ) throws -> any SampleSource {
        try open(reader: MemoryReader(copying: bytes), name: name, limits: limits, interrupted: interrupted)
    }
}

extension SndfileDecoder {
    convenience init(bytes: [UInt8], name: String = "audio in memory") throws {
        try self.init(reader: MemoryReader(copying: bytes), name: name)
    }
}

extension ImageDecoder {
    static func decode(
        bytes: [UInt8], name: String = "image in memory", limits: MediaLimits = MediaLimits(),
        interrupted: () -> Bool = { false }
    ) throws -> RGBImage {
        try decode(reader: MemoryReader(copying: bytes), name: name, limits: limits, interrupted: interrupted)
    }
}

extension ImageDecoder {
    static func size(bytes: [UInt8]) throws -> PixelSize? {
        try size(reader: MemoryReader(copying: bytes), name: "image in memory")
    }
}

extension VideoDecoder {
    convenience init(
        bytes: [UInt8], name: String = "video in memory", limits: MediaLimits = MediaLimits()
    ) throws {
        try self.init(reader: MemoryReader(copying: bytes), name: name, limits: limits)
    }
}
