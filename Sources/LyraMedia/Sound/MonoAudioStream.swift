import LyraBase

/// Mono samples at the rate that a model wants, from a source at any rate: decoded, averaged and resampled as they are
/// read.
///
/// It holds one block of the source and the resampler's window, however long the recording. What is read does not
/// depend on the sizes it is read in.
public final class MonoAudioStream {
    private static let blockSize = 1 << 14

    /// Samples a second of what is read, in Hz.
    public let sampleRate: Int
    /// Samples read so far.
    public private(set) var samplesRead: Int64 = 0

    private let source: any SampleSource
    private let resampler: Resampler
    private let block = GrowingBuffer<Float>()
    /// What of `block` the resampler has not taken yet.
    private var unread = 0..<0
    private var isEmptied = false

    /// - Parameters:
    ///   - source: Where the samples come from; nobody else may read from it.
    ///   - sampleRate: The rate to resample to, 1 … 1,000,000 Hz.
    /// - Throws: `LyraError(.argument)` if a rate is out of range, `.memory` if there is no room.
    public init(_ source: any SampleSource, sampleRate: Int) throws {
        self.source = source
        self.sampleRate = sampleRate
        resampler = try Resampler(from: source.sampleRate, to: sampleRate)
        try block.resize(to: Self.blockSize)
    }

    /// True once every sample has been read and none can follow.
    public var isAtEnd: Bool { isEmptied }

    /// Reads at most `buffer.count` samples. Fewer come only at the end, or when an unfinished `PCMQueue` has run dry.
    /// - Returns: The number of samples read; 0 at the end.
    /// - Throws: What the source throws, `LyraError.state` if the work is interrupted. Samples before the error that
    ///   were not yet returned are lost.
    public func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        var filled = 0
        while filled < buffer.count, !isEmptied {
            try Interruption.check()
            let rest = UnsafeMutableBufferPointer(rebasing: buffer[filled...])
            if !unread.isEmpty {
                filled += resample(into: rest)
            } else if source.isAtEnd {
                let count = resampler.finish(into: rest)
                isEmptied = count < rest.count
                filled += count
            } else {
                let count = try source.read(into: block.elements)
                if count == 0, !source.isAtEnd { break }
                unread = 0..<count
            }
        }
        samplesRead += Int64(filled)
        return filled
    }

    /// The same into `buffer` from its element `first` on.
    public func read(into buffer: GrowingBuffer<Float>, from first: Int) throws -> Int {
        try read(into: UnsafeMutableBufferPointer(rebasing: buffer.elements[first...]))
    }

    private func resample(into output: UnsafeMutableBufferPointer<Float>) -> Int {
        let (consumed, produced) = resampler.process(
            UnsafeBufferPointer(rebasing: block.elements[unread]), into: output)
        unread = unread.lowerBound + consumed..<unread.upperBound
        return produced
    }
}
