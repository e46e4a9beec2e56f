import CSndfile
import Glibc
import LyraBase
import LyraTensor

/// Decodes a sound file, wherever its bytes are, to mono samples: WAV, FLAC, OGG (Vorbis, Opus) and whatever else the
/// installed libsndfile knows, but MP3, about which it writes to stderr. Channels are averaged.
///
/// It holds one block of samples, however long the recording. A file that stops early gives what could be decoded; what
/// the decoder itself calls an error is thrown, and thrown again by every later read. Behind the samples that a FLAC
/// file counts may be anything, such as a tag; `continued` goes on at another FLAC file.
public final class SndfileDecoder: ContinuedSource {
    public let name: String
    /// Samples a second, in Hz.
    public let sampleRate: Int
    /// Channels of the file, before they are averaged.
    public let channels: Int
    public private(set) var isAtEnd = false
    public let length: SourceLength?

    /// The number of samples that the header of a FLAC file states; nil if it states none, and for other formats.
    private let framesOfFLAC: Int64?
    private let file: VirtualFile
    private let handle: OpaquePointer
    /// [frames, channels] of one block.
    private let block: FloatStorage
    private var framesRead: Int64 = 0
    private var failure: LyraError?

    /// Opens an encoded file behind a caller's reader, which is kept as long as the decoder is.
    /// - Throws: `LyraError(.io)` if the reader fails, `.format` if it is not audio that libsndfile understands.
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
        // A header that was never completed claims the largest count that there is, or none.
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

    // The callbacks may still be called by sf_close: `file` outlives it, being a stored property.
    deinit { sf_close(handle) }

    /// Reads at most `buffer.count` mono samples; 0 at the end.
    /// - Throws: `LyraError(.io)` if the bytes cannot be read; `.format` if they cannot be decoded, or if a sample is
    ///   NaN, infinite or absurd.
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
        // What is behind the samples of a FLAC file would be an error. Of other formats the number of frames in the
        // header is not believed; libsndfile says 0 at the end.
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

    /// Bytes that libFLAC may have read beyond the last frame.
    private static let readAhead: Int64 = 1 << 18

    /// The decoder of the FLAC file that was joined to this one, once this one is at its end.
    func continued() throws -> (any ContinuedSource)? {
        guard framesOfFLAC != nil else { return nil }
        // Its own mark is at 0.
        let first = max(file.position - Self.readAhead, 1)
        guard let start = try FLACStart.next(in: file.reader, from: first, name: name) else { return nil }
        return try SndfileDecoder(reader: ReaderView(file.reader, from: start), name: name)
    }

    /// libsndfile's number for that is not public.
    private static func isMemory(_ reason: String) -> Bool { reason.utf8.count < 200 && reason.contains("malloc") }

    private static func reason(of handle: OpaquePointer?) -> String {
        guard let text = sf_strerror(handle) else { return "no reason given" }
        return String(cString: text)
    }
}
