import CSndfile
import Glibc
import LyraBase
import LyraTensor

/// Decodes a sound file to mono samples with libsndfile: WAV, FLAC, OGG (Vorbis, Opus) and whatever else the installed
/// libsndfile knows, except MP3, for which libsndfile writes to stderr. Channels are averaged.
///
/// Memory holds one block of samples, however long the recording is. A truncated file gives the samples that can be
/// decoded. An error of libsndfile is thrown, and thrown again by every later read. Anything may follow the samples of
/// a FLAC file, such as a tag; `continued` opens the next FLAC file.
public final class SndfileDecoder: ContinuedSource {
    public let name: String
    /// Samples a second, in Hz.
    public let sampleRate: Int
    /// Channels of the file, before they are averaged.
    public let channels: Int
    public private(set) var isAtEnd = false
    public let length: SourceLength?

    /// The frames that the header of a FLAC file states; nil if it states none, and for other formats.
    private let framesOfFLAC: Int64?
    private let file: VirtualFile
    private let handle: OpaquePointer
    /// The samples of one block: [frames, channels].
    private let block: FloatStorage
    private var framesRead: Int64 = 0
    private var failure: LyraError?

    /// Opens an encoded file that `reader` reads. The decoder keeps the reader.
    ///
    /// - Throws: `LyraError(.io)` if the reader fails, `.format` if libsndfile cannot decode the file.
    public init(reader: any ByteReader, name: String) throws {
        self.name = name
        _ = try reader.checkedSize(name: name)
        let body = try LeadingTags.skipped(reader, name: name)
        file = try VirtualFile(reader: body, name: name)
        let format = try MediaFormat(body, name: name)
        guard format != .mpegAudio, format != .mpegWave else {
            throw LyraError(.format, "\(name): cannot be opened as audio: MPEG audio is not for this decoder")
        }
        try MediaLibrary.sndfile.require(for: name)
        let (opened, info) = try Self.open(file, name: name)
        do {
            if let failure = file.failure { throw failure }
            let channels = Int(info.channels)
            try AudioLimits.check(sampleRate: Int(info.samplerate), channels: channels, name: name, code: .format)
            block = try FloatStorage(count: max(1, AudioLimits.samplesPerBlock / channels) * channels)
        } catch {
            sf_close(opened)
            throw error
        }
        handle = opened
        sampleRate = Int(info.samplerate)
        channels = Int(info.channels)
        let isFLAC = info.format & Int32(SF_FORMAT_TYPEMASK) == Int32(SF_FORMAT_FLAC)
        framesOfFLAC = isFLAC && info.frames > 0 && info.frames < 1 << 40 ? Int64(info.frames) : nil
        // A header that was never completed states the largest possible count, or 0.
        length = info.frames > 0 && info.frames < 1 << 48 ? .exact(Int64(info.frames)) : nil
    }

    private static func open(_ file: VirtualFile, name: String) throws -> (OpaquePointer, SF_INFO) {
        var callbacks = VirtualFile.callbacks()
        let data = Unmanaged.passUnretained(file).toOpaque()
        var info = SF_INFO()
        file.hidesLists = true
        defer { file.hidesLists = false }
        if let opened = sf_open_virtual(&callbacks, Int32(SFM_READ), &info, data) { return (opened, info) }
        if let failure = file.failure { throw failure }
        let reason = reason(of: nil)
        throw LyraError(
            isMemory(reason) ? .memory : .format, "\(name): cannot be opened as audio: \(reason)")
    }

    // sf_close may still call the callbacks. `file` is a stored property, so it lives until then.
    deinit { sf_close(handle) }

    /// Reads at most `buffer.count` mono samples; 0 at the end.
    ///
    /// - Throws: `LyraError(.io)` if the bytes cannot be read; `.format` if they cannot be decoded, or if a sample is
    ///   NaN, infinite or above `AudioLimits.largestSample`.
    public func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        if let failure { throw failure }
        guard let target = buffer.baseAddress, !isAtEnd else { return 0 }
        var filled = 0
        do {
            while filled < buffer.count {
                let count = try readBlock(into: target + filled, atMost: buffer.count - filled)
                if count == 0 { break }
                filled += count
            }
        } catch let error as LyraError {
            failure = error
            throw error
        }
        isAtEnd = filled < buffer.count
        return filled
    }

    private func readBlock(into target: UnsafeMutablePointer<Float>, atMost wanted: Int) throws -> Int {
        let base = block.base
        var frames = min(wanted, block.count / channels)
        // Reading past the samples of a FLAC file would be an error. In other formats the stated number of frames may
        // be wrong, so lyra reads until libsndfile returns 0.
        if let framesOfFLAC { frames = min(frames, Int(framesOfFLAC - framesRead)) }
        if frames <= 0 { return 0 }
        let count = Int(sf_readf_float(handle, base, sf_count_t(frames)))
        if let failure = file.failure { throw failure }
        guard sf_error(handle) == SF_ERR_NO_ERROR, count >= 0, count <= frames else {
            let place = "after sample \(framesRead)"
            let reason = Self.reason(of: handle)
            throw LyraError(
                Self.isMemory(reason) ? .memory : .format, "\(name): cannot be decoded \(place): \(reason)")
        }
        try AudioLimits.checkFinite(
            UnsafeBufferPointer(start: base, count: count * channels),
            channels: channels, firstFrame: framesRead, name: name)
        AudioLimits.downmix(base, frames: count, channels: channels, into: target)
        framesRead += Int64(count)
        return count
    }

    /// The most bytes that libFLAC reads ahead.
    private static let readAhead: Int64 = 1 << 18

    /// The decoder of the FLAC file that follows this one in a joined file; call it at the end of this one.
    func continued() throws -> (any ContinuedSource)? {
        guard framesOfFLAC != nil else { return nil }
        // The signature of the current file is at 0.
        let first = max(file.position - Self.readAhead, 1)
        guard let start = try FLACStart.next(in: file.reader, from: first, name: name) else { return nil }
        return try SndfileDecoder(reader: ReaderView(file.reader, from: start), name: name)
    }

    /// Whether libsndfile lacked memory. It has no public error code for that, so the message is searched.
    private static func isMemory(_ reason: String) -> Bool { reason.utf8.count < 200 && reason.contains("malloc") }

    private static func reason(of handle: OpaquePointer?) -> String {
        guard let text = sf_strerror(handle) else { return "no reason given" }
        return String(cString: text)
    }
}
