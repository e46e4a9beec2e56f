import Glibc

/// Width and height in pixels.
public struct PixelSize: Equatable, Sendable {
    public var width: Int
    public var height: Int

    public init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }

    /// Qwen2-VL's `smart_resize`: the nearest size with about the same aspect ratio whose sides are multiples of
    /// `factor` (at least one) and whose area is within the bounds.
    func fitted(factor: Int, minPixels: Int, maxPixels: Int) -> PixelSize {
        let (w, h, f) = (Double(width), Double(height), Double(factor))
        // Rounds halves to even, as Python's round does.
        func nearest(_ side: Double) -> Int { max(factor, Int((side / f).rounded(.toNearestOrEven)) * factor) }
        let (wide, high) = (nearest(w), nearest(h))
        if wide * high > maxPixels {
            let beta = (h * w / Double(maxPixels)).squareRoot()
            func below(_ side: Double) -> Int { max(factor, Int((side / beta / f).rounded(.down)) * factor) }
            return PixelSize(width: below(w), height: below(h))
        }
        if wide * high < minPixels {
            let beta = (Double(minPixels) / (h * w)).squareRoot()
            func above(_ side: Double) -> Int { Int((side * beta / f).rounded(.up)) * factor }
            return PixelSize(width: above(w), height: above(h))
        }
        return PixelSize(width: wide, height: high)
    }

    /// The sizes to which the reference resizes an image before `fitted`, in order, with nearest-neighbor resizing. The
    /// longest side is at most 2880, each side at least 28, and an aspect ratio above 200 to 1 becomes 180 to 1.
    func bounded(longest: Int = 2880, shortest: Int = 28) -> [PixelSize] {
        var sizes: [PixelSize] = [], size = self
        func become(_ width: Int, _ height: Int) {
            size = PixelSize(width: width, height: height)
            sizes.append(size)
        }
        if max(width, height) > longest {
            let factor = Double(longest) / Double(max(width, height))
            // The reference fails where a side would vanish.
            become(max(1, Int(Double(width) * factor)), max(1, Int(Double(height) * factor)))
        }
        if min(size.width, size.height) < shortest { become(max(size.width, shortest), max(size.height, shortest)) }
        if size.width > 200 * size.height { become(180 * size.height, size.height) }
        if size.height > 200 * size.width { become(size.width, 180 * size.width) }
        return sizes
    }
}
