import LyraBase
import LyraTensor

/// The patches of an image or a video: the input of a vision tower.
public struct PatchGrid: Sendable {
    /// The frame pairs, patch rows and patch columns, before the tower merges patches.
    public let grid: (time: Int, height: Int, width: Int)
    /// [time · height · width, 3 · temporalPatch · patch²]. The patches that become one token are consecutive. A row
    /// holds channel by channel, frame by frame, pixel row by pixel row.
    public let patches: Tensor
}

/// Makes patches of images and video frames as the reference does: the size limits, Qwen2-VL's `smart_resize`, Pillow's
/// resampling, normalization, and the order that the tower's merger needs.
public struct ImagePreparation: Sendable {
    public private(set) var configuration: ImageConfiguration
    /// Larger images are first shrunk to this longest side, in pixels.
    public private(set) var longestSide = 2880
    /// The normalized value of every byte: [3, 256].
    private let levels: [[Float]]

    /// - Parameter configuration: Must be valid (`ImageConfiguration.validate`).
    public init(_ configuration: ImageConfiguration = ImageConfiguration()) {
        self.configuration = configuration
        levels = (0..<3).map { channel in
            (0..<256).map { byte in
                (Float(Double(byte) * configuration.scale) - configuration.mean[channel])
                    / configuration.deviation[channel]
            }
        }
    }

    /// A copy that shrinks larger images to `pixels`, but never below the configured minimum or one token. Nil changes
    /// nothing.
    public func limited(toPixels pixels: Int?) -> ImagePreparation {
        guard let pixels else { return self }
        var limited = self
        let token = configuration.factor.checkedMultiplying(by: configuration.factor) ?? .max
        let least = max(configuration.minPixels, token)
        limited.configuration.maxPixels = max(min(pixels, configuration.maxPixels), least)
        return limited
    }

    /// A copy that first shrinks images to a longest side of `side` pixels; 28 or more. The reference uses 2880 on its
    /// command line, and 1920 in evaluations.
    public func limited(toSide side: Int) -> ImagePreparation {
        var limited = self
        limited.longestSide = max(side, 28)
        return limited
    }

    /// Makes the patches of an image. The image fills all frames of a temporal patch.
    ///
    /// - Parameter interrupted: Polled every few rows; true ends the call.
    /// - Throws: `LyraError(.memory)`, `.state` if interrupted, `.format` if the configuration is invalid.
    public func prepare(_ image: RGBImage, interrupted: () -> Bool = { false }) throws -> PatchGrid {
        try configuration.validate("preparing images")
        var image = image
        let given = PixelSize(width: image.width, height: image.height)
        for size in given.bounded(longest: longestSide) {
            image = try ImageResizer.nearest(image, size, interrupted: interrupted)
        }
        let size = preparedSize(of: given)
        var frames = try VideoFrames(self, size: size, frames: 1)
        try frames.append(image, interrupted: interrupted)
        return try frames.finish(interrupted: interrupted)
    }

    /// The size at which an image of `size` is encoded.
    private func preparedSize(of size: PixelSize) -> PixelSize {
        (size.bounded(longest: longestSide).last ?? size).fitted(
            factor: configuration.factor, minPixels: configuration.minPixels, maxPixels: configuration.maxPixels)
    }

    /// Number of prompt tokens of an image of `size`; its sides must be at least 1.
    public func tokens(ofImage size: PixelSize) -> Int { tokens(ofFrame: preparedSize(of: size)) }

    /// Number of prompt tokens of a video with frames of `size`; its sides must be at least 1.
    ///
    /// - Parameter frames: that are encoded
    public func tokens(ofVideo size: PixelSize, frames: Int) -> Int {
        let pairs = (frames + configuration.temporalPatch - 1) / configuration.temporalPatch
        return tokens(ofFrame: VideoSampling.size(size, frames: frames, configuration)).saturatingMultiplying(by: pairs)
    }

    private func tokens(ofFrame prepared: PixelSize) -> Int {
        prepared.width / configuration.factor * (prepared.height / configuration.factor)
    }

    /// Writes the patches of one frame.
    ///
    /// - Parameters:
    ///   - image: The frame; its sides are multiples of the configuration's factor.
    ///   - place: The index of the frame in its temporal patch.
    ///   - target: Receives the frame's values in the patches of its frame pair.
    ///   - interrupted: Polled every few rows; true ends the call with `LyraError(.state)`.
    func write(
        _ image: RGBImage, place: Int, to target: UnsafeMutablePointer<Float>, interrupted: () -> Bool = { false }
    ) throws {
        let (patch, merge) = (configuration.patch, configuration.merge)
        let (height, width) = (image.height / patch, image.width / patch)
        let frame = patch * patch, channel = configuration.temporalPatch * frame
        try image.withPixels { pixels in
            var out = target + place * frame
            for top in stride(from: 0, to: height, by: merge) {
                if interrupted() { throw LyraError(.state, "preparing an image was interrupted") }
                for left in stride(from: 0, to: width, by: merge) {
                    for y in top..<top + merge {
                        for x in left..<left + merge {
                            let corner = pixels + (y * patch * image.width + x * patch) * 3
                            for c in 0..<3 { write(corner + c, image.width * 3, channel: c, to: out + c * channel) }
                            out += 3 * channel
                        }
                    }
                }
            }
        }
    }

    /// Writes one channel of one patch, whose rows are `stride` bytes apart.
    private func write(
        _ corner: UnsafePointer<UInt8>, _ stride: Int, channel: Int, to target: UnsafeMutablePointer<Float>
    ) {
        let patch = configuration.patch
        levels[channel].withUnsafeBufferPointer { level in
            for row in 0..<patch {
                for column in 0..<patch {
                    target[row * patch + column] = level[Int(corner[row * stride + column * 3])]
                }
            }
        }
    }
}
