import LyraTensor

/// What a vision tower takes: the patches of a picture or a video.
public struct PatchGrid: Sendable {
    /// Pairs of frames, and patches down and across, before the merge.
    public let grid: (time: Int, height: Int, width: Int)
    /// [time · height · width, 3 · temporalPatch · patch²]: rows in windows of the merge, each row channel by channel, frame by
    /// frame, pixel row by pixel row.
    public let patches: Tensor
}

/// Makes patches of pictures and frames as the reference does: the size limits, Qwen2-VL's `smart_resize`, Pillow's
/// resampling, normalisation, and the order that the tower's merger needs.
public struct ImagePreparation: Sendable {
    public private(set) var configuration: ImageConfiguration
    /// For each channel the value of every byte.
    private let levels: [[Float]]

    /// - Parameter configuration: validated
    public init(_ configuration: ImageConfiguration = ImageConfiguration()) {
        self.configuration = configuration
        levels = (0..<3).map { channel in
            (0..<256).map { byte in
                (Float(Double(byte) * configuration.scale) - configuration.mean[channel])
                    / configuration.deviation[channel]
            }
        }
    }

    /// The same with larger pictures shrunk to `pixels`; not below the smallest that there is. Nil changes nothing.
    public func limited(toPixels pixels: Int?) -> ImagePreparation {
        guard let pixels else { return self }
        var limited = self
        let least = max(configuration.minPixels, configuration.factor * configuration.factor)
        limited.configuration.maxPixels = max(min(pixels, configuration.maxPixels), least)
        return limited
    }

    /// A picture, which stands for two equal frames.
    ///
    /// - Throws: `LyraError(.memory)` if there is no room.
    public func prepare(_ image: RGBImage) throws -> PatchGrid {
        var image = image
        for size in PixelSize(width: image.width, height: image.height).bounded() {
            image = try ImageResizer.nearest(image, size)
        }
        let size = PixelSize(width: image.width, height: image.height).fitted(
            factor: configuration.factor, minPixels: configuration.minPixels, maxPixels: configuration.maxPixels)
        var frames = try VideoFrames(self, size: size, frames: 1)
        try frames.append(image)
        return try frames.finish()
    }

    /// Writes the patches of one frame.
    ///
    /// - Parameters:
    ///   - image: of sides that are multiples of the factor
    ///   - place: which of a patch's frames it is
    ///   - target: room for the patches of its frame pair
    func write(_ image: RGBImage, place: Int, to target: UnsafeMutablePointer<Float>) {
        let (patch, merge) = (configuration.patch, configuration.merge)
        let (height, width) = (image.height / patch, image.width / patch)
        let frame = patch * patch, channel = configuration.temporalPatch * frame
        image.withPixels { pixels in
            var out = target + place * frame
            for top in stride(from: 0, to: height, by: merge) {
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

/// The patches of a video while its frames come.
public struct VideoFrames {
    private let preparation: ImagePreparation
    private let size: PixelSize
    private let grid: (time: Int, height: Int, width: Int)
    private var patches: Tensor
    private var count = 0
    private var last: RGBImage?

    /// - Parameters:
    ///   - size: of the frames before they are resized
    ///   - frames: how many will come; an odd last one counts twice
    /// - Throws: `LyraError(.memory)` if there is no room, `.argument` for sides or frames that cannot be.
    public init(_ preparation: ImagePreparation, frameSize size: PixelSize, frames: Int) throws {
        let sides = 1...RGBImage.longestSide
        guard sides.contains(size.width), sides.contains(size.height), (1...65_536).contains(frames) else {
            throw LyraError(
                .argument, "a video of \(frames) frames of \(size.width) × \(size.height) pixels cannot be looked at")
        }
        guard size.width <= 200 * size.height, size.height <= 200 * size.width else {
            throw LyraError(
                .unsupported, "a video of \(size.width) × \(size.height) pixels; at most 200 to 1 can be looked at")
        }
        try self.init(
            preparation, size: VideoSampling.size(size, frames: frames, preparation.configuration), frames: frames)
    }

    init(_ preparation: ImagePreparation, size: PixelSize, frames: Int) throws {
        let configuration = preparation.configuration
        self.preparation = preparation
        self.size = size
        let (patch, together) = (configuration.patch, configuration.temporalPatch)
        grid = ((frames + together - 1) / together, size.height / patch, size.width / patch)
        patches = try Tensor(zeros: [grid.time * grid.height * grid.width, 3 * together * patch * patch])
    }

    /// Resizes the next frame and takes it up; those over the number that was announced are left out.
    public mutating func append(_ frame: RGBImage) throws {
        try add(
            frame.width == size.width && frame.height == size.height ? frame : ImageResizer.bicubic(frame, size))
    }

    private mutating func add(_ frame: RGBImage) throws {
        let together = preparation.configuration.temporalPatch
        guard count < grid.time * together else { return }
        let offset = count / together * grid.height * grid.width * patches.columns
        let (preparation, place) = (preparation, count % together)
        try patches.withMutableValues { preparation.write(frame, place: place, to: $0 + offset) }
        last = frame
        count += 1
    }

    /// All patches; where frames are missing, the last one is repeated.
    ///
    /// - Throws: `LyraError(.format)` if there was none.
    public consuming func finish() throws -> PatchGrid {
        guard let last else { throw LyraError(.format, "the video has no frames") }
        while count < grid.time * preparation.configuration.temporalPatch { try add(last) }
        return PatchGrid(grid: grid, patches: patches)
    }
}
