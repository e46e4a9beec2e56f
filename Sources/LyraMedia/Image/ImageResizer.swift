import Glibc
import LyraBase

/// Resizes images, bit-identical to Pillow's `Image.resize`.
enum ImageResizer {
    /// Nearest-neighbor resizing: each new pixel copies the pixel under its center.
    ///
    /// - Parameter interrupted: Polled every few rows.
    /// - Throws: `LyraError(.memory)`, `.argument` for an invalid side, `.state` if interrupted.
    static func nearest(
        _ image: RGBImage, _ size: PixelSize, interrupted: () -> Bool = { false }
    ) throws -> RGBImage {
        let columns = try nearestIndices(from: image.width, to: size.width)
        let rows = try nearestIndices(from: image.height, to: size.height)
        return try RGBImage(width: size.width, height: size.height) { target in
            try image.withPixels { source in
                var out = target
                for (place, row) in rows.elements.enumerated() {
                    try check(place, interrupted)
                    let line = source + Int(row) * image.width * 3
                    for column in columns.elements {
                        let pixel = line + Int(column) * 3
                        (out[0], out[1], out[2]) = (pixel[0], pixel[1], pixel[2])
                        out += 3
                    }
                }
            }
        }
    }

    /// Accumulates the step, as Pillow does. Multiplication would round some positions to another pixel.
    private static func nearestIndices(from count: Int, to newCount: Int) throws -> GrowingBuffer<Int32> {
        let step = Double(count) / Double(newCount), indices = GrowingBuffer<Int32>()
        try indices.reserve(newCount)
        var position = step * 0.5
        for _ in 0..<newCount {
            try indices.append(Int32(min(Int(position), count - 1)))
            position += step
        }
        return indices
    }

    /// Bicubic resizing with antialiasing: when the image shrinks, the kernel widens with the step. There are two
    /// passes, with values rounded to 8 bits between them.
    ///
    /// The horizontal pass comes first, unless the image loses more than twice as many rows as columns. Pillow does so
    /// since version 13. In older versions the horizontal pass always came first, which gives other values where a
    /// sharp edge overshoots 0 … 255 between the passes.
    ///
    /// - Parameter interrupted: Polled every few rows; true ends the call with `LyraError(.state)`.
    static func bicubic(
        _ image: RGBImage, _ size: PixelSize, interrupted: () -> Bool = { false }
    ) throws -> RGBImage {
        let lostRows = image.height - size.height, lostColumns = image.width - size.width
        if lostRows > 0, lostRows > 2 * lostColumns {
            return try resizeRows(resizeColumns(image, to: size.height, interrupted), to: size.width, interrupted)
        }
        return try resizeColumns(resizeRows(image, to: size.width, interrupted), to: size.height, interrupted)
    }

    private static func check(_ row: Int, _ interrupted: () -> Bool) throws {
        if row & 15 == 0, interrupted() { throw LyraError(.state, "resizing an image was interrupted") }
    }

    // MARK: Kernels

    /// The filters of all new values. A new value is the sum of its weights times the old values from `first` on.
    private struct Taps {
        struct Tap: BitwiseCopyable {
            let first: Int
            /// The range of its weights in `weights`.
            let start: Int
            let count: Int
        }

        let all = GrowingBuffer<Tap>()
        /// Fixed point: 2^22 is 1.
        let weights = GrowingBuffer<Int32>()

        func weights(of tap: Tap) -> UnsafeBufferPointer<Int32> {
            UnsafeBufferPointer(rebasing: weights.elements[tap.start..<tap.start + tap.count])
        }
    }

    private static let precision: Int32 = 22

    /// Keys' cubic kernel with a = −1/2. It is 0 at distances of 2 and more.
    private static func cubic(_ distance: Double) -> Double {
        let x = abs(distance), a = -0.5
        if x < 1 { return ((a + 2) * x - (a + 3)) * x * x + 1 }
        return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0
    }

    /// - Throws: `LyraError(.memory)`.
    private static func taps(from count: Int, to newCount: Int) throws -> Taps {
        let taps = Taps(), weights = GrowingBuffer<Double>()
        try taps.all.reserve(newCount)
        let step = Double(count) / Double(newCount)
        let width = max(step, 1)
        let support = 2 * width
        for index in 0..<newCount {
            let center = (Double(index) + 0.5) * step
            let first = max(Int(center - support + 0.5), 0)
            let end = min(Int(center + support + 0.5), count)
            weights.truncate(to: 0)
            for place in first..<end { try weights.append(cubic((Double(place) - center + 0.5) * (1 / width))) }
            let sum = weights.elements.reduce(0, +)
            try taps.all.append(.init(first: first, start: taps.weights.count, count: weights.count))
            for weight in weights.elements {
                let share = (sum == 0 ? weight : weight / sum) * Double(1 << precision)
                try taps.weights.append(Int32(share < 0 ? share - 0.5 : share + 0.5))
            }
        }
        return taps
    }

    /// Shifts a fixed-point sum to 0 … 255. The sum already contains the half for rounding.
    @inline(__always)
    private static func clipped(_ sum: Int32) -> UInt8 {
        UInt8(truncatingIfNeeded: max(0, min(255, sum &>> precision)))
    }

    // MARK: Passes

    // Sums cannot overflow: the weights of a new value sum to 2^22, their magnitudes to less than 2^23, so with values
    // up to 255 a sum stays below 2^31.

    private static func resizeRows(
        _ image: RGBImage, to width: Int, _ interrupted: () -> Bool
    ) throws -> RGBImage {
        if width == image.width { return image }
        let taps = try taps(from: image.width, to: width)
        return try RGBImage(width: width, height: image.height) { target in
            try image.withPixels { source in
                for row in 0..<image.height {
                    try check(row, interrupted)
                    let line = source + row * image.width * 3
                    var out = target + row * width * 3
                    for tap in taps.all.elements {
                        var pixel = line + tap.first * 3
                        var sum = SIMD4<Int32>(repeating: 1 << (precision - 1))
                        for weight in taps.weights(of: tap) {
                            let value = SIMD4(Int32(pixel[0]), Int32(pixel[1]), Int32(pixel[2]), 0)
                            sum = sum &+ value &* SIMD4(repeating: weight)
                            pixel += 3
                        }
                        (out[0], out[1], out[2]) = (clipped(sum[0]), clipped(sum[1]), clipped(sum[2]))
                        out += 3
                    }
                }
            }
        }
    }

    private static func resizeColumns(
        _ image: RGBImage, to height: Int, _ interrupted: () -> Bool
    ) throws -> RGBImage {
        if height == image.height { return image }
        let bytes = image.width * 3
        let sums = try GrowingBuffer<Int32>(repeating: 0, count: bytes), taps = try taps(from: image.height, to: height)
        return try RGBImage(width: image.width, height: height) { target in
            try image.withPixels { source in
                defer { withExtendedLifetime(sums) {} }
                guard let sums = sums.elements.baseAddress else { return }
                for (row, tap) in taps.all.elements.enumerated() {
                    try check(row, interrupted)
                    sums.update(repeating: 1 << (precision - 1), count: bytes)
                    for (offset, weight) in taps.weights(of: tap).enumerated() {
                        let line = source + (tap.first + offset) * bytes
                        for i in 0..<bytes { sums[i] = sums[i] &+ Int32(line[i]) &* weight }
                    }
                    let out = target + row * bytes
                    for i in 0..<bytes { out[i] = clipped(sums[i]) }
                }
            }
        }
    }
}
