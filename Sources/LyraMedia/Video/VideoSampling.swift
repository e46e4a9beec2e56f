import LyraBase

/// Which frames of a video are encoded, and at which size: the choice of qwen-vl-utils with the bounds of the
/// reference.
public struct VideoSampling: Sendable {
    /// The smallest number of frames; the number is always even.
    private static let minFrames = 4
    /// Limits in pixels: all frames together at most, one frame at most, one frame at least.
    private static let totalPixels = 28 * 28 * 2048 * 32
    private static let largestFrame = 768 * 28 * 28
    private static let smallestFrame = 28 * 28 * 4

    private let framesPerSecond: Double
    private let maxFrames: Int

    /// - Throws: `LyraError(.argument)` if `framesPerSecond` is not above 0 and at most 1000, or `maxFrames` is not in
    ///   1 … 65,536.
    public init(framesPerSecond: Double = 2, maxFrames: Int = 16) throws {
        guard framesPerSecond > 0, framesPerSecond <= 1000 else {
            throw LyraError(.argument, "\(framesPerSecond) frames a second; must be above 0 and at most 1000")
        }
        guard (1...65_536).contains(maxFrames) else {
            throw LyraError(.argument, "\(maxFrames) frames at most; must be in 1…65536")
        }
        self.framesPerSecond = framesPerSecond
        self.maxFrames = maxFrames
    }

    /// The indices of the frames to encode, evenly spaced from the first to the last; repeated if there are too few
    /// frames.
    ///
    /// - Parameters:
    ///   - frameCount: The frames of the video.
    ///   - frameRate: The average frames a second of the video.
    public func indices(frameCount: Int, frameRate: Double) -> [Int] {
        guard frameCount > 0 else { return [] }
        let rate = frameRate > 0 && frameRate.isFinite ? frameRate : framesPerSecond
        // The maximum is rounded down to an even number, and takes precedence over the minimum.
        let most = max(maxFrames / 2 * 2, 2)
        let wanted = min(max(Double(frameCount) / rate * framesPerSecond, Double(Self.minFrames)), Double(most))
        let count = max(Int((wanted / 2).rounded(.toNearestOrEven)) * 2, 2)
        // torch.linspace in float32 computes from the nearer end. Frame counts above 2^24 are clamped: floats are exact
        // up to there.
        let last = Float(min(frameCount, 1 << 24) - 1)
        let step = last / Float(count - 1)
        return (0..<count).map { index in
            let place = index < count / 2 ? step * Float(index) : last - step * Float(count - 1 - index)
            return min(max(Int(place.rounded(.toNearestOrEven)), 0), frameCount - 1)
        }
    }

    /// The size to which frames are resized.
    static func size(_ size: PixelSize, frames: Int, _ configuration: ImageConfiguration) -> PixelSize {
        let even = Double(frames % 2 == 0 ? frames : frames + 1)
        let most = max(
            min(Double(largestFrame), Double(totalPixels) / even * 2), Double(Int(Double(smallestFrame) * 1.05)))
        return size.fitted(
            factor: configuration.factor, minPixels: smallestFrame, maxPixels: min(Int(most), configuration.maxPixels))
    }
}
