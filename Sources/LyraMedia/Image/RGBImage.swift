import Glibc
import LyraBase

/// An immutable, upright image of 8-bit RGB pixels, row by row from the top, without gaps: `height · width · 3` bytes.
public struct RGBImage: @unchecked Sendable {
    public let width: Int
    public let height: Int
    private let storage: PixelStorage

    /// Allocates an image and calls `fill`, which must write all `height · width · 3` bytes.
    ///
    /// - Throws: `LyraError(.argument)` if a side is not 1 … 65,535, `.memory`, and what `fill` throws.
    public init(width: Int, height: Int, fill: (UnsafeMutablePointer<UInt8>) throws -> Void) throws {
        guard (1...Self.longestSide).contains(width), (1...Self.longestSide).contains(height) else {
            throw LyraError(
                .argument, "an image of \(width) × \(height) pixels; each side must be 1 … \(Self.longestSide)")
        }
        guard let storage = PixelStorage(count: width * height * 3) else {
            throw LyraError(.memory, "no memory for an image of \(width) × \(height) pixels")
        }
        try fill(storage.base)
        self.width = width
        self.height = height
        self.storage = storage
    }

    /// Copies pixels whose rows are `stride` bytes apart.
    ///
    /// - Parameter bytes: At least `(height - 1) · stride + 3 · width` bytes.
    /// - Throws: `LyraError(.argument)` for an invalid size or too few bytes, `.memory`.
    public init(copying bytes: UnsafeRawBufferPointer, width: Int, height: Int, stride: Int) throws {
        guard (1...Self.longestSide).contains(width), (1...Self.longestSide).contains(height), stride >= 3 * width
        else {
            throw LyraError(
                .argument,
                "an image of \(width) × \(height) pixels with \(stride) bytes a row; each side must be "
                    + "1 … \(Self.longestSide) and a row at least 3 bytes a pixel")
        }
        guard let needed = stride.checkedMultiplying(by: height - 1)?.checkedAdding(3 * width), bytes.count >= needed,
            let base = bytes.baseAddress
        else {
            throw LyraError(
                .argument,
                "\(bytes.count) bytes are too few for \(width) × \(height) pixels with \(stride) bytes a row")
        }
        try self.init(width: width, height: height) { pixels in
            for row in 0..<height {
                UnsafeMutableRawPointer(pixels + row * width * 3)
                    .copyMemory(from: base + row * stride, byteCount: width * 3)
            }
        }
    }

    /// Reads the pixels; the pointer is valid during the call.
    public func withPixels<R>(_ body: (UnsafePointer<UInt8>) throws -> R) rethrows -> R {
        defer { withExtendedLifetime(storage) {} }
        return try body(UnsafePointer(storage.base))
    }

    static let longestSide = 65_535
}

/// Bytes from malloc, which can fail; a Swift array would end the process.
private final class PixelStorage {
    let base: UnsafeMutablePointer<UInt8>

    init?(count: Int) {
        guard let memory = retryingAllocation({ malloc(max(count, 1)) }) else { return nil }
        base = memory.bindMemory(to: UInt8.self, capacity: count)
    }

    deinit { free(base) }
}
