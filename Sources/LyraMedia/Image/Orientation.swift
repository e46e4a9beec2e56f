import LyraBase

/// How a stored image is turned upright: transposed (rows become columns) or not, then mirrored or not.
struct Orientation: Equatable {
    var isTransposed = false
    /// Mirrored left to right, after transposing.
    var flipsColumns = false
    /// Mirrored top to bottom, after transposing.
    var flipsRows = false

    static let upright = Orientation()

    /// - Parameter value: EXIF's tag 0x0112, 1 … 8. Any other value means upright, as 1 does.
    init(exif value: Int) {
        isTransposed = (5...8).contains(value)
        flipsColumns = [2, 3, 6, 7].contains(value)
        flipsRows = [3, 4, 7, 8].contains(value)
    }

    /// - Parameter m: The display matrix of a video track, [3, 3], row-major. The matrix maps (x, y, 1) of a stored
    ///   pixel to its place on the display. Rotations are rounded to the nearest multiple of 90°.
    init(displayMatrix m: UnsafePointer<Int32>) {
        let straight = m[0].magnitude.addingReportingOverflow(m[4].magnitude)
        let turned = m[1].magnitude.addingReportingOverflow(m[3].magnitude)
        isTransposed = !straight.overflow && (turned.overflow || turned.partialValue > straight.partialValue)
        flipsColumns = (isTransposed ? m[3] : m[0]) < 0
        flipsRows = (isTransposed ? m[1] : m[4]) < 0
    }

    private init() {}

    /// Copies an image and turns it upright.
    ///
    /// - Parameters:
    ///   - pixels: RGB, rows `stride` bytes apart.
    ///   - width: The width of the stored image, which is the height of the result if transposed.
    ///   - interrupted: Polled every few rows; true ends the call with `LyraError(.state)`.
    func upright(
        _ pixels: UnsafePointer<UInt8>, width: Int, height: Int, stride: Int, interrupted: () -> Bool = { false }
    ) throws -> RGBImage {
        let (columns, rows) = isTransposed ? (height, width) : (width, height)
        return try RGBImage(width: columns, height: rows) { target in
            if !isTransposed, !flipsColumns {
                for row in 0..<rows {
                    if row & 63 == 0 { try Self.check(interrupted) }
                    let source = pixels + (flipsRows ? rows - 1 - row : row) * stride
                    (target + row * columns * 3).update(from: source, count: columns * 3)
                }
            } else {
                try turn(pixels, stride: stride, into: target, columns: columns, rows: rows, interrupted)
            }
        }
    }

    private static func check(_ interrupted: () -> Bool) throws {
        if interrupted() { throw LyraError(.state, "turning an image was interrupted") }
    }

    /// Copies in tiles of 32 × 32 pixels, so that source and target lines stay in the cache.
    private func turn(
        _ pixels: UnsafePointer<UInt8>, stride: Int, into target: UnsafeMutablePointer<UInt8>, columns: Int, rows: Int,
        _ interrupted: () -> Bool
    ) throws {
        let tile = 32
        // Bytes in the source to the next column and row of the result.
        let across = (isTransposed ? stride : 3) * (flipsColumns ? -1 : 1)
        let down = (isTransposed ? 3 : stride) * (flipsRows ? -1 : 1)
        let origin = (flipsColumns ? -across * (columns - 1) : 0) + (flipsRows ? -down * (rows - 1) : 0)
        for firstRow in Swift.stride(from: 0, to: rows, by: tile) {
            try Self.check(interrupted)
            for firstColumn in Swift.stride(from: 0, to: columns, by: tile) {
                for row in firstRow..<min(firstRow + tile, rows) {
                    var source = pixels + origin + row * down + firstColumn * across
                    var pixel = target + (row * columns + firstColumn) * 3
                    for _ in firstColumn..<min(firstColumn + tile, columns) {
                        pixel[0] = source[0]
                        pixel[1] = source[1]
                        pixel[2] = source[2]
                        pixel += 3
                        source += across
                    }
                }
            }
        }
    }
}
