import Glibc
import LyraBase

/// Float PCM that a caller appends in pieces, kept as mono until it is read.
public final class PCMQueue: SampleSource {
    public let name: String
    /// Samples a second, in Hz.
    public let sampleRate: Int
    /// Channels of the appended samples; they are averaged.
    public let channels: Int

    /// The unread samples: a linked list of blocks.
    private var first: SampleBlock?
    private var last: SampleBlock?
    /// Samples of `first` that were read.
    private var readOffset = 0
    public private(set) var framesAppended: Int64 = 0
    /// The number of the first frame in its recording, for error messages.
    private let firstFrame: Int64
    private var isFinished = false

    /// - Parameter firstFrame: the number of the first frame in its recording, for error messages
    /// - Throws: `LyraError(.argument)` if the rate is not 1 … 1,000,000 Hz or the channels are not 1 … 1024.
    public init(sampleRate: Int, channels: Int, name: String = "appended PCM", firstFrame: Int64 = 0) throws {
        try AudioLimits.check(sampleRate: sampleRate, channels: channels, name: name, code: .argument)
        self.name = name
        self.sampleRate = sampleRate
        self.channels = channels
        self.firstFrame = firstFrame
    }

    // Iteratively: releasing the head of a linked list would recurse for each block.
    deinit { while let block = first { first = block.next.take() } }

    /// Known after `finish()`.
    public var length: SourceLength? { isFinished ? .exact(framesAppended) : nil }

    public var isAtEnd: Bool { isFinished && first == nil }

    /// Appends interleaved frames: [frames, channels], full scale ±1. After an error none of the samples are kept.
    ///
    /// - Throws: `LyraError(.argument)` if rate or channels differ from the queue's or a frame is incomplete, or if
    ///   a sample is NaN, infinite or above `AudioLimits.largestSample`; `.state` after `finish()`; `.memory`.
    public func append(_ interleaved: UnsafeBufferPointer<Float>, sampleRate: Int, channels: Int) throws {
        try checkGoesOn(sampleRate: sampleRate, channels: channels)
        guard interleaved.count % channels == 0 else {
            throw LyraError(
                .argument, "\(name): \(interleaved.count) samples are not whole frames of \(channels) channels")
        }
        guard let base = interleaved.baseAddress, !interleaved.isEmpty else { return }
        try AudioLimits.checkFinite(
            interleaved, channels: channels, firstFrame: firstFrame + framesAppended, name: name,
            code: .argument)
        try convert(base, frames: interleaved.count / channels)
    }

    /// Moves all samples of `piece` to the end of this queue, and finishes `piece`. `piece` must be unread.
    ///
    /// - Throws: `LyraError(.argument)` if its rate or channels differ, `.state` after `finish()` of either.
    public func append(_ piece: PCMQueue) throws {
        guard piece !== self, !piece.isFinished, piece.readOffset == 0 else {
            throw LyraError(.state, "\(name): these samples were appended before")
        }
        try checkGoesOn(sampleRate: piece.sampleRate, channels: piece.channels)
        piece.isFinished = true
        guard let head = piece.first.take() else { return }
        if let last { last.next = head } else { first = head }
        last = piece.last.take()
        framesAppended += piece.framesAppended
    }

    private func checkGoesOn(sampleRate: Int, channels: Int) throws {
        guard !isFinished else { throw LyraError(.state, "\(name): samples after the end of the recording") }
        guard sampleRate == self.sampleRate, channels == self.channels else {
            throw LyraError(
                .argument,
                "\(name): \(sampleRate) Hz with \(channels) channels, but the recording began with "
                    + "\(self.sampleRate) Hz and \(self.channels); end it before the format changes")
        }
    }

    private func convert(_ base: UnsafePointer<Float>, frames: Int) throws {
        var (head, tail): (SampleBlock?, SampleBlock?)
        var done = 0
        while done < frames {
            let count = min(frames - done, AudioLimits.samplesPerBlock)
            guard let block = SampleBlock(count: count) else {
                while let made = head { head = made.next.take() }
                throw LyraError(.memory, "\(name): no memory for \(frames) more samples; append them in smaller pieces")
            }
            AudioLimits.downmix(base + done * channels, frames: count, channels: channels, into: block.samples)
            if let tail { tail.next = block } else { head = block }
            tail = block
            done += count
        }
        if let last { last.next = head } else { first = head }
        last = tail
        framesAppended += Int64(frames)
    }

    /// Ends the recording. A second call does nothing.
    public func finish() { isFinished = true }

    public func read(into buffer: UnsafeMutableBufferPointer<Float>) -> Int {
        guard let target = buffer.baseAddress else { return 0 }
        var filled = 0
        while filled < buffer.count, let block = first {
            let count = min(buffer.count - filled, block.count - readOffset)
            (target + filled).update(from: block.samples + readOffset, count: count)
            filled += count
            readOffset += count
            if readOffset == block.count {
                readOffset = 0
                first = block.next.take()
                if first == nil { last = nil }
            }
        }
        return filled
    }
}

/// Samples in memory from malloc, which can fail; a Swift array would end the process.
private final class SampleBlock {
    let samples: UnsafeMutablePointer<Float>
    let count: Int
    var next: SampleBlock?

    init?(count: Int) {
        guard let memory = retryingAllocation({ malloc(count * MemoryLayout<Float>.stride) }) else { return nil }
        samples = memory.bindMemory(to: Float.self, capacity: count)
        self.count = count
    }

    deinit { free(samples) }
}
