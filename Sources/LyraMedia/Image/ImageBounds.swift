extension RGBImage {
    /// The image with its longest side at most `pixels`, each side at least 28 and an aspect ratio of at most 200, by
    /// nearest-neighbor resizing: the reference's steps before Qwen2-VL's own, with another limit than 2880.
    ///
    /// - Parameter pixels: at least 28
    /// - Throws: `LyraError.memory` if there is no room.
    package func bounded(longestSide pixels: Int) throws -> RGBImage {
        var image = self
        for size in PixelSize(width: width, height: height).bounded(longest: pixels) {
            image = try ImageResizer.nearest(image, size)
        }
        return image
    }
}
