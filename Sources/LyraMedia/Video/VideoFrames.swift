import LyraBase
import LyraTensor

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
        try preparation.configuration.validate("preparing frames")
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
    ///
    /// - Parameter interrupted: Asked every few rows; true ends the call with `LyraError(.state)`.
    public mutating func append(_ frame: RGBImage, interrupted: () -> Bool = { false }) throws {
        let isFitting = frame.width == size.width && frame.height == size.height
        try add(isFitting ? frame : ImageResizer.bicubic(frame, size, interrupted: interrupted), interrupted)
    }

    private mutating func add(_ frame: RGBImage, _ interrupted: () -> Bool) throws {
        let together = preparation.configuration.temporalPatch
        guard count < grid.time * together else { return }
        let offset = count / together * grid.height * grid.width * patches.columns
        let (preparation, place) = (preparation, count % together)
        try patches.withMutableValues {
            try preparation.write(frame, place: place, to: $0 + offset, interrupted: interrupted)
        }
        last = frame
        count += 1
    }

    /// All patches; where frames are missing, the last one is repeated.
    ///
    /// - Throws: `LyraError(.format)` if there was none.
    public consuming func finish(interrupted: () -> Bool = { false }) throws -> PatchGrid {
        guard let last else { throw LyraError(.format, "the video has no frames") }
        while count < grid.time * preparation.configuration.temporalPatch { try add(last, interrupted) }
        return PatchGrid(grid: grid, patches: patches)
    }
}
