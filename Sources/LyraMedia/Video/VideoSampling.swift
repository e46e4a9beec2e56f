import LyraBase

/// Which frames of a video are looked at, and how large: qwen-vl-utils' choice with the bounds of the reference.
public struct VideoSampling: Sendable {
    /// An even number of frames, so many at least.
    private static let leastFrames = 4
    /// Pixels of all frames together, and of one, at most; of one, at least.
    private static let totalPixels = 28 * 28 * 2048 * 32
    private static let largestFrame = 768 * 28 * 28
    private static let smallestFrame = 28 * 28 * 4

    private let framesPerSecond: Double
    private let maxFrames: Int

    /// - Throws: `LyraError(.argument)` if frames per second are not above 0, or the most frames not 1 … 65,536.
    public init(framesPerSecond: Double = 2, maxFrames: Int = 16) throws {
        guard framesPerSecond > 0, framesPerSecond <= 1000 else {
            throw LyraError(.argument, "\(framesPerSecond) frames a second; it must be above 0, and 1000 at most")
        }
        guard (1...65_536).contains(maxFrames) else {
            throw LyraError(.argument, "\(maxFrames) frames at most; it must be in 1…65536")
        }
        self.framesPerSecond = framesPerSecond
        self.maxFrames = maxFrames
    }

    /// The frames to look at, evenly from the first to the last, in order; some twice if there are too few.
    ///
    /// - Parameters:
    ///   - frameCount: of the whole video
    ///   - frameRate: on average, a second
    public func indices(frameCount: Int, frameRate: Double) -> [Int] {
        guard frameCount > 0 else { return [] }
        let rate = frameRate > 0 && frameRate.isFinite ? frameRate : framesPerSecond
        // The maximum is rounded down to an even number; below the minimum it is the maximum that counts.
        let most = max(maxFrames / 2 * 2, 2)
        let wanted = min(max(Double(frameCount) / rate * framesPerSecond, Double(Self.leastFrames)), Double(most))
        let count = max(Int((wanted / 2).rounded(.toNearestOrEven)) * 2, 2)
        // torch.linspace in float32: from the nearer end. No video has more frames than a float counts exactly.
        let last = Float(min(frameCount, 1 << 24) - 1)
        let step = last / Float(count - 1)
        return (0..<count).map { index in
            let place = index < count / 2 ? step * Float(index) : last - step * Float(count - 1 - index)
            return min(max(Int(place.rounded(.toNearestOrEven)), 0), frameCount - 1)
        }
    }

    /// The size that frames are brought to.
    static func size(_ size: PixelSize, frames: Int, _ configuration: ImageConfiguration) -> PixelSize {
        let even = Double(frames % 2 == 0 ? frames : frames + 1)
        let most = max(
            min(Double(largestFrame), Double(totalPixels) / even * 2), Double(Int(Double(smallestFrame) * 1.05)))
        return size.fitted(
            factor: configuration.factor, minPixels: smallestFrame, maxPixels: min(Int(most), configuration.maxPixels))
    }
}
