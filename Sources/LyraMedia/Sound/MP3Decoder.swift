import CMpg123
import LyraTensor

/// Decodes MP3 to mono samples. Channels are averaged; the silence that an encoder added is left out where its tag says so.
///
/// It is the decoder that libsndfile uses for MP3, called so that it writes nothing to stderr. It holds one block of samples.
/// Damaged frames are passed over. It belongs to one thread at a time.
public final class MP3Decoder: SampleSource {
    public let name: String
    /// Samples a second, in Hz.
    public let sampleRate: Int
    /// Channels of the file, before they are averaged.
    public let channels: Int
    public private(set) var isAtEnd = false
    public let length: SourceLength?

    private let file: VirtualFile
    private let handle: OpaquePointer
    /// [frames, channels] of one block.
    private var block: [Float]
    private var framesRead: Int64 = 0
    private var failure: LyraError?

    /// Opens an MP3 behind a caller's reader, which is kept as long as the decoder is.
    /// - Throws: `LyraError(.io)` if the reader fails, `.format` if it is not MP3.
    public init(reader: any ByteReader, name: String) throws {
        self.name = name
        file = try VirtualFile(reader: reader, name: name)
        guard try MP3Sync.isMPEG(reader, name: name) else { throw LyraError(.format, "\(name): not MP3") }
        try MediaLibrary.mpg123.require(for: name)
        guard let handle = mpg123_new(nil, nil) else { throw LyraError(.memory, "\(name): no memory to decode MP3") }
        do {
            let (rate, channels) = try Self.open(handle, file, name: name)
            try AudioLimits.check(sampleRate: rate, channels: channels, name: name, code: .format)
            (sampleRate, self.channels) = (rate, channels)
        } catch {
            mpg123_delete(handle)
            throw error
        }
        self.handle = handle
        let count = mpg123_length(handle)
        length = count > 0 ? .about(Int64(count)) : nil
        block = [Float](repeating: 0, count: AudioLimits.samplesPerBlock / channels * channels)
    }

    // The callbacks may still be called by mpg123_delete: `file` outlives it, being a stored property.
    deinit { mpg123_delete(handle) }

    private static func open(_ handle: OpaquePointer, _ file: VirtualFile, name: String) throws -> (Int, Int) {
        let flags = MPG123_QUIET.rawValue | MPG123_FORCE_FLOAT.rawValue | MPG123_GAPLESS.rawValue
        lyra_mpg123_set(handle, MPG123_REMOVE_FLAGS, Int(MPG123_AUTO_RESAMPLE.rawValue))
        lyra_mpg123_set(handle, MPG123_ADD_FLAGS, Int(flags | MPG123_NO_FRANKENSTEIN.rawValue))
        // Look for a frame however far the first is.
        lyra_mpg123_set(handle, MPG123_RESYNC_LIMIT, -1)
        var rate = 0
        var channels: Int32 = 0
        var encoding: Int32 = 0
        let isOpen =
            file.open(handle) == MPG123_OK.rawValue
            && mpg123_getformat(handle, &rate, &channels, &encoding) == MPG123_OK.rawValue
        if let failure = file.failure { throw failure }
        guard isOpen, encoding == MPG123_ENC_FLOAT_32.rawValue else {
            throw LyraError(.format, "\(name): cannot be opened as MP3: \(reason(of: handle))")
        }
        return (rate, Int(channels))
    }

    /// Reads at most `buffer.count` mono samples; 0 at the end.
    /// - Throws: `LyraError(.io)` if the bytes cannot be read; `.format` if a sample is NaN, infinite or absurd.
    public func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        if let failure { throw failure }
        guard let target = buffer.baseAddress else { return 0 }
        var filled = 0
        do {
            while filled < buffer.count, !isAtEnd {
                filled += try readBlock(into: target + filled, atMost: buffer.count - filled)
            }
        } catch let error as LyraError {
            failure = error
            throw error
        }
        return filled
    }

    private func readBlock(into target: UnsafeMutablePointer<Float>, atMost wanted: Int) throws -> Int {
        try block.withUnsafeMutableBufferPointer { block in
            guard let base = block.baseAddress else { return 0 }
            let frameSize = channels * MemoryLayout<Float>.size
            var bytes = 0
            let status = mpg123_read(handle, base, min(wanted, block.count / channels) * frameSize, &bytes)
            if let failure = file.failure { throw failure }
            // The end; or damage that cannot be passed over, or another format, which are taken for it.
            if status != MPG123_OK.rawValue { isAtEnd = true }
            let count = bytes / frameSize
            try AudioLimits.checkFinite(
                UnsafeBufferPointer(start: base, count: count * channels),
                channels: channels, firstFrame: framesRead, name: name)
            AudioLimits.downmix(base, frames: count, channels: channels, into: target)
            framesRead += Int64(count)
            return count
        }
    }

    private static func reason(of handle: OpaquePointer) -> String {
        mpg123_strerror(handle).map { String(cString: $0) } ?? "no reason given"
    }
}
