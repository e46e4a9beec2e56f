import LyraBase
import LyraTensor

/// Makes the patches of a video from frames that are appended one by one.
public struct VideoFrames {
    private let preparation: ImagePreparation
    private let size: PixelSize
    private let grid: (time: Int, height: Int, width: Int)
    private var patches: Tensor
    private var count = 0
    private var last: RGBImage?

    /// - Parameters:
    ///   - size: The size of the frames before resizing.
    ///   - frames: The number of frames that will be appended. The last one fills up an incomplete temporal patch.
    /// - Throws: `LyraError(.memory)`, `.argument` for an invalid size or number of frames, `.unsupported` for an
    ///   aspect ratio above 200 to 1.
    public init(_ preparation: ImagePreparation, frameSize size: PixelSize, frames: Int) throws {
        try preparation.configuration.validate("preparing frames")
        let sides = 1...RGBImage.longestSide
        guard sides.contains(size.width), sides.contains(size.height), (1...65_536).contains(frames) else {
            throw LyraError(
                .argument, "a video of \(frames) frames of \(size.width) × \(size.height) pixels cannot be encoded")
        }
        guard size.width <= 200 * size.height, size.height <= 200 * size.width else {
            throw LyraError(
                .unsupported,
                "a video of \(size.width) × \(size.height) pixels; the aspect ratio may be at most 200 to 1")
        }
        try self.init(
            preparation, size: VideoSampling.size(size, frames: frames, preparation.configuration), frames: frames)
    }

    init(_ preparation: ImagePreparation, size: PixelSize, frames: Int) throws {
        let configuration = preparation.configuration
        self.preparation = preparation
        self.size = size
        let (patch, temporalPatch) = (configuration.patch, configuration.temporalPatch)
        grid = ((frames + temporalPatch - 1) / temporalPatch, size.height / patch, size.width / patch)
        patches = try Tensor(zeros: [grid.time * grid.height * grid.width, 3 * temporalPatch * patch * patch])
    }

    /// Resizes the next frame and adds its patches. Frames beyond the announced number, rounded up to whole temporal
    /// patches, are ignored.
    ///
    /// - Parameter interrupted: Polled every few rows; true ends the call with `LyraError(.state)`.
    public mutating func append(_ frame: RGBImage, interrupted: () -> Bool = { false }) throws {
        let isFitting = frame.width == size.width && frame.height == size.height
        try add(isFitting ? frame : ImageResizer.bicubic(frame, size, interrupted: interrupted), interrupted)
    }

    private mutating func add(_ frame: RGBImage, _ interrupted: () -> Bool) throws {
        let temporalPatch = preparation.configuration.temporalPatch
        guard count < grid.time * temporalPatch else { return }
        let offset = count / temporalPatch * grid.height * grid.width * patches.columns
        let (preparation, place) = (preparation, count % temporalPatch)
        try patches.withMutableValues {
            try preparation.write(frame, place: place, to: $0 + offset, interrupted: interrupted)
        }
        last = frame
        count += 1
    }

    /// Returns the patches. If frames are missing, the last one is repeated.
    ///
    /// - Throws: `LyraError(.format)` if no frame was appended.
    public consuming func finish(interrupted: () -> Bool = { false }) throws -> PatchGrid {
        guard let last else { throw LyraError(.format, "the video has no frames") }
        while count < grid.time * preparation.configuration.temporalPatch { try add(last, interrupted) }
        return PatchGrid(grid: grid, patches: patches)
    }
}
