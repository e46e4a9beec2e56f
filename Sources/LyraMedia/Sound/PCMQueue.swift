import Glibc
import LyraBase

/// Float PCM that a caller appends in pieces, kept as mono until it is read.
public final class PCMQueue: SampleSource {
    public let name: String
    /// Samples a second, in Hz.
    public let sampleRate: Int
    /// Channels of what is appended; they are averaged.
    public let channels: Int

    /// What was not read yet: a chain, since its links cost a few bytes each however many there are.
    private var first: SampleBlock?
    private var last: SampleBlock?
    /// Samples of `first` that were read.
    private var readOffset = 0
    private var framesAppended: Int64 = 0
    private var isFinished = false

    /// - Throws: `LyraError(.argument)` if the rate is not 1 … 1,000,000 Hz or the channels are not 1 … 1024.
    public init(sampleRate: Int, channels: Int, name: String = "appended PCM") throws {
        try AudioLimits.check(sampleRate: sampleRate, channels: channels, name: name, code: .argument)
        self.name = name
        self.sampleRate = sampleRate
        self.channels = channels
    }

    // One by one: a chain that frees itself from its head on would use stack for each.
    deinit { while let block = first { first = block.next.take() } }

    /// Known once it is finished.
    public var length: SourceLength? { isFinished ? .exact(framesAppended) : nil }

    public var isAtEnd: Bool { isFinished && first == nil }

    /// Appends interleaved frames: [frames, channels], full scale ±1. After an error nothing of the piece is kept.
    /// - Throws: `LyraError(.argument)` if rate or channels differ from the queue's or a frame is incomplete, `.format`
    ///   if a sample is NaN, infinite or absurd, `.state` after `finish()`, `.memory` if there is no room.
    public func append(_ interleaved: UnsafeBufferPointer<Float>, sampleRate: Int, channels: Int) throws {
        try checkGoesOn(sampleRate: sampleRate, channels: channels)
        guard interleaved.count % channels == 0 else {
            throw LyraError(
                .argument, "\(name): \(interleaved.count) samples are not whole frames of \(channels) channels")
        }
        guard let base = interleaved.baseAddress, !interleaved.isEmpty else { return }
        try AudioLimits.checkFinite(
            interleaved, channels: channels, firstFrame: framesAppended, name: name,
            code: .argument)
        try convert(base, frames: interleaved.count / channels)
    }

    /// Moves all samples of `piece`, which nobody has read from, to the end of this queue, and finishes `piece`.
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

    /// Says that the recording ends here. Calling it again does nothing.
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

/// Samples in memory from an allocator that can say no.
private final class SampleBlock {
    let samples: UnsafeMutablePointer<Float>
    let count: Int
    var next: SampleBlock?

    init?(count: Int) {
        guard let memory = malloc(count * MemoryLayout<Float>.stride) else { return nil }
        samples = memory.bindMemory(to: Float.self, capacity: count)
        self.count = count
    }

    deinit { free(samples) }
}
