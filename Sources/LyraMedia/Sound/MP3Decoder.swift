import CMpg123
import LyraBase

/// Decodes MP3 to mono samples with libmpg123. Channels are averaged. Encoder padding is removed if the encoder's tag
/// states it.
///
/// libsndfile also decodes MP3 with libmpg123, but writes to stderr. Memory holds one frame. Damaged frames are
/// skipped. The decoder ends where another MP3 was joined or the format changes; `continued` opens the rest. Use it
/// from one thread at a time.
public final class MP3Decoder: ContinuedSource {
    public let name: String
    /// Samples a second, in Hz.
    public let sampleRate: Int
    /// Channels of the file, before they are averaged.
    public let channels: Int
    public var isAtEnd: Bool { isDecoded && unread.isEmpty }
    public let length: SourceLength?

    private let reader: any ByteReader
    private let interrupted: () -> Bool
    private let file: VirtualFile
    private let handle: OpaquePointer
    /// The samples of one frame.
    private var mono = [Float](repeating: 0, count: longestFrame)
    private var unread = 0..<0
    private var framesRead: Int64 = 0
    private var failure: LyraError?
    /// Whether the current frame is parsed but not decoded.
    private var holdsFrame = true
    private var isDecoded = false
    /// The offset after the last decoded frame.
    private var lastEnd: Int64?
    /// The offset of the first frame of a joined MP3, if it was found.
    private var joinedStart: Int64?

    private static let longestFrame = 1152

    /// Opens an MP3 that `reader` reads. The decoder keeps the reader.
    ///
    /// - Parameter interrupted: Polled while the next MP3 is searched for; true ends the call with `LyraError(.state)`.
    /// - Throws: `LyraError(.io)` if the reader fails, `.format` if the bytes are not MP3, `.memory`.
    public convenience init(
        reader: any ByteReader, name: String, interrupted: @escaping () -> Bool = { false }
    ) throws {
        _ = try reader.checkedSize(name: name)
        let audio = try LeadingTags.skipped(reader, name: name)
        guard try MP3Sync.isMPEG(audio, name: name) else { throw LyraError(.format, "\(name): not MP3") }
        try self.init(audio: audio, name: name, interrupted: interrupted)
    }

    private init(audio: any ByteReader, name: String, interrupted: @escaping () -> Bool) throws {
        self.name = name
        self.interrupted = interrupted
        reader = audio
        file = try VirtualFile(reader: audio, name: name)
        try MediaLibrary.mpg123.require(for: name)
        guard let handle = mpg123_new(nil, nil) else { throw LyraError(.memory, "\(name): no memory to decode MP3") }
        do {
            let (rate, channels) = try Self.open(handle, file, name: name)
            try AudioLimits.check(sampleRate: rate, channels: channels, name: name, code: .format)
            (sampleRate, self.channels) = (rate, channels)
            length = try Self.length(mpg123_length(handle), of: audio, name: name)
        } catch {
            mpg123_delete(handle)
            throw error
        }
        self.handle = handle
    }

    // mpg123_delete may still call the callbacks. `file` is a stored property, so it lives until then.
    deinit { mpg123_delete(handle) }

    /// Parses the first frame, which states the format.
    private static func open(_ handle: OpaquePointer, _ file: VirtualFile, name: String) throws -> (Int, Int) {
        let flags = MPG123_QUIET.rawValue | MPG123_FORCE_FLOAT.rawValue | MPG123_GAPLESS.rawValue
        lyra_mpg123_set(handle, MPG123_REMOVE_FLAGS, Int(MPG123_AUTO_RESAMPLE.rawValue))
        lyra_mpg123_set(handle, MPG123_ADD_FLAGS, Int(flags | MPG123_NO_FRANKENSTEIN.rawValue))
        // Search for the first frame without a limit.
        lyra_mpg123_set(handle, MPG123_RESYNC_LIMIT, -1)
        var rate = 0
        var channels: Int32 = 0
        var encoding: Int32 = 0
        let isOpen =
            file.open(handle) == MPG123_OK.rawValue
            && [MPG123_OK.rawValue, MPG123_NEW_FORMAT.rawValue].contains(mpg123_framebyframe_next(handle))
            && mpg123_getformat(handle, &rate, &channels, &encoding) == MPG123_OK.rawValue
        if let failure = file.failure { throw failure }
        guard isOpen, encoding == MPG123_ENC_FLOAT_32.rawValue else {
            let isMemory = mpg123_errcode(handle) == MPG123_OUT_OF_MEM.rawValue
            throw LyraError(
                isMemory ? .memory : .format, "\(name): cannot be opened as MP3: \(Self.reason(of: handle))")
        }
        return (rate, Int(channels))
    }

    /// The first frame may state the samples and bytes of its MP3. If the file is longer, the length is extrapolated
    /// from the bytes.
    private static func length(_ samples: off_t, of audio: any ByteReader, name: String) throws -> SourceLength? {
        guard samples > 0 else { return nil }
        let size = try audio.size
        let head = try audio.peek(0, MP3Sync.infoLength, name: name)
        guard let bytes = MP3Sync.infoBytes(head), bytes > 0, size > bytes + bytes / 8 else {
            return .about(Int64(samples))
        }
        return .about(Int64(min(Double(samples) * Double(size) / Double(bytes), 9e15)))
    }

    /// Reads at most `buffer.count` mono samples; 0 at the end.
    ///
    /// - Throws: `LyraError(.io)` if the bytes cannot be read; `.format` if a sample is NaN, infinite or above
    ///   `AudioLimits.largestSample`; `.memory`.
    public func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        if let failure { throw failure }
        guard let target = buffer.baseAddress else { return 0 }
        var filled = 0
        do {
            while filled < buffer.count {
                if unread.isEmpty {
                    if isDecoded { break }
                    try decodeFrame()
                    continue
                }
                let count = min(buffer.count - filled, unread.count)
                mono.withUnsafeBufferPointer { samples in
                    guard let base = samples.baseAddress else { return }
                    (target + filled).update(from: base + unread.lowerBound, count: count)
                }
                unread = unread.lowerBound + count..<unread.upperBound
                filled += count
            }
        } catch let error as LyraError {
            failure = error
            throw error
        }
        return filled
    }

    /// Decodes the next frame into `mono`.
    private func decodeFrame() throws {
        let status = holdsFrame ? MPG123_OK.rawValue : mpg123_framebyframe_next(handle)
        holdsFrame = false
        if let failure = file.failure { throw failure }
        guard status == MPG123_OK.rawValue || status == MPG123_NEW_FORMAT.rawValue else {
            try checkMemory(status)
            // The end, or damage beyond recovery, or another format.
            isDecoded = true
            return
        }
        var header: UInt = 0
        var body: UnsafeMutablePointer<UInt8>?
        var bodyLength = 0
        let position = Int64(lyra_mpg123_framepos(handle))
        if mpg123_framedata(handle, &header, &body, &bodyLength) == MPG123_OK.rawValue, let body {
            let bytes = UnsafeRawBufferPointer(start: body, count: bodyLength)
            if position > 0, MP3Sync.isInfo(header: UInt32(truncatingIfNeeded: header), body: bytes) {
                (joinedStart, isDecoded) = (position, true)
                return
            }
            lastEnd = position + 4 + Int64(bodyLength)
        }
        var samples: UnsafeMutablePointer<UInt8>?
        var byteCount = 0
        let decoded = mpg123_framebyframe_decode(handle, nil, &samples, &byteCount)
        if decoded != MPG123_OK.rawValue { try checkMemory(decoded) }
        guard let samples else { return }
        try take(UnsafeRawBufferPointer(start: samples, count: byteCount).bindMemory(to: Float.self))
    }

    /// Averages the channels of a decoded frame.
    private func take(_ samples: UnsafeBufferPointer<Float>) throws {
        let count = min(samples.count / channels, Self.longestFrame)
        guard let base = samples.baseAddress, count > 0 else { return }
        try AudioLimits.checkFinite(
            UnsafeBufferPointer(rebasing: samples[..<(count * channels)]), channels: channels, firstFrame: framesRead,
            name: name)
        mono.withUnsafeMutableBufferPointer { mono in
            guard let target = mono.baseAddress else { return }
            AudioLimits.downmix(base, frames: count, channels: channels, into: target)
        }
        framesRead += Int64(count)
        unread = 0..<count
    }

    /// The decoder of the MP3 that follows this one in a joined file; call it at the end of this one.
    func continued() throws -> (any ContinuedSource)? {
        var place = joinedStart
        if place == nil, let lastEnd {
            place = try MP3Sync.nextStream(in: reader, from: lastEnd, name: name) { [name, interrupted] in
                if interrupted() { throw LyraError(.state, "\(name): interrupted") }
            }
        }
        guard let start = place else { return nil }
        if interrupted() { throw LyraError(.state, "\(name): interrupted") }
        do {
            return try MP3Decoder(audio: ReaderView(reader, from: start), name: name, interrupted: interrupted)
        } catch let error as LyraError where error.code == .format {
            // A single frame with nothing after it.
            return nil
        }
    }

    private func checkMemory(_ status: Int32) throws {
        guard status == MPG123_ERR.rawValue, mpg123_errcode(handle) == MPG123_OUT_OF_MEM.rawValue else { return }
        throw LyraError(.memory, "\(name): no memory to decode MP3")
    }

    private static func reason(of handle: OpaquePointer) -> String {
        mpg123_strerror(handle).map { String(cString: $0) } ?? "no reason given"
    }
}
