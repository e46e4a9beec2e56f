import Glibc
import LyraTensor

/// Float PCM that a caller appends in pieces, kept as mono until it is read.
public final class PCMQueue: SampleSource {
    public let name: String
    /// Samples a second, in Hz.
    public let sampleRate: Int
    /// Channels of what is appended; they are averaged.
    public let channels: Int

    private var blocks: [SampleBlock] = []
    private var readBlock = 0
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

    /// Known once it is finished.
    public var length: SourceLength? { isFinished ? .exact(framesAppended) : nil }

    public var isAtEnd: Bool { isFinished && readBlock == blocks.count }

    /// Appends interleaved frames: [frames, channels], full scale ±1. After an error nothing of the piece is kept.
    /// - Throws: `LyraError(.argument)` if rate or channels differ from the queue's or a frame is incomplete, `.format` if a
    ///   sample is NaN, infinite or absurd, `.state` after `finish()`, `.memory` if there is no room.
    public func append(_ interleaved: UnsafeBufferPointer<Float>, sampleRate: Int, channels: Int) throws {
        guard !isFinished else { throw LyraError(.state, "\(name): samples after the end of the recording") }
        guard sampleRate == self.sampleRate, channels == self.channels else {
            throw LyraError(
                .argument,
                "\(name): \(sampleRate) Hz with \(channels) channels, but the recording began with "
                    + "\(self.sampleRate) Hz and \(self.channels); end it before the format changes")
        }
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

    private func convert(_ base: UnsafePointer<Float>, frames: Int) throws {
        var pieces: [SampleBlock] = []
        var done = 0
        while done < frames {
            let count = min(frames - done, AudioLimits.samplesPerBlock)
            guard let block = SampleBlock(count: count) else {
                throw LyraError(.memory, "\(name): no memory for \(frames) more samples; append them in smaller pieces")
            }
            AudioLimits.downmix(base + done * channels, frames: count, channels: channels, into: block.samples)
            pieces.append(block)
            done += count
        }
        blocks += pieces
        framesAppended += Int64(frames)
    }

    /// Says that the recording ends here. Calling it again does nothing.
    public func finish() { isFinished = true }

    public func read(into buffer: UnsafeMutableBufferPointer<Float>) -> Int {
        guard let target = buffer.baseAddress else { return 0 }
        var filled = 0
        while filled < buffer.count, readBlock < blocks.count {
            let block = blocks[readBlock]
            let count = min(buffer.count - filled, block.count - readOffset)
            (target + filled).update(from: block.samples + readOffset, count: count)
            filled += count
            readOffset += count
            if readOffset == block.count {
                readOffset = 0
                readBlock += 1
            }
        }
        dropRead()
        return filled
    }

    /// Frees what was read, in steps that double, so that many small pieces do not cost quadratic time.
    private func dropRead() {
        guard readBlock * 2 >= blocks.count else { return }
        blocks.removeFirst(readBlock)
        readBlock = 0
    }
}

/// Samples in memory from an allocator that can say no.
private final class SampleBlock {
    let samples: UnsafeMutablePointer<Float>
    let count: Int

    init?(count: Int) {
        guard let memory = malloc(count * MemoryLayout<Float>.stride) else { return nil }
        samples = memory.bindMemory(to: Float.self, capacity: count)
        self.count = count
    }

    deinit { free(samples) }
}
