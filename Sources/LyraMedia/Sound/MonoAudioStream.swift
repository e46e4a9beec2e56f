import LyraBase

/// Mono samples at a model's sample rate, from a source at any rate. Samples are decoded and resampled when they are
/// read.
///
/// Memory holds one piece of the source and the resampler's window, however long the recording is. The samples do not
/// depend on the sizes of the reads.
public final class MonoAudioStream {
    private static let blockSize = 1 << 14

    /// The sample rate of the output, in Hz.
    public let sampleRate: Int
    /// Samples read so far.
    public private(set) var samplesRead: Int64 = 0

    private let source: any SampleSource
    private let resampler: Resampler
    private let block = GrowingBuffer<Float>()
    /// The range of `block` that the resampler has not consumed yet.
    private var unread = 0..<0
    private var isEmptied = false

    /// - Parameters:
    ///   - source: The source of the samples; no other code may read from it.
    ///   - sampleRate: The rate to resample to, 1 … 1,000,000 Hz.
    /// - Throws: `LyraError(.argument)` if a rate is out of range, `.memory`.
    public init(_ source: any SampleSource, sampleRate: Int) throws {
        self.source = source
        self.sampleRate = sampleRate
        resampler = try Resampler(from: source.sampleRate, to: sampleRate)
        try block.resize(to: Self.blockSize)
    }

    /// True once every sample has been read and none can follow.
    public var isAtEnd: Bool { isEmptied }

    /// Reads `buffer.count` samples; fewer only at the end, or when an unfinished `PCMQueue` is empty.
    ///
    /// - Returns: The number of samples read; 0 at the end.
    /// - Throws: What the source throws, `LyraError.state` if interrupted. Samples that this call read before the
    ///   error are lost.
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

    /// The same, into the elements of `buffer` from `first` on.
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
