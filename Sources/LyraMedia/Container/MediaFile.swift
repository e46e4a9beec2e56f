import CFFmpeg
import LyraBase

/// A container of video and sound, opened with libavformat: its tracks and their packets.
///
/// All bytes come from the given reader. Files and network addresses that the container names are never opened.
final class MediaFile {
    /// The demuxers that are allowed. Playlists, image sequences and scripts are not: they refer to other files.
    private static let containers = [
        "mov", "matroska", "avi", "flv", "mpegts", "mpeg", "asf", "ogg", "nut", "mxf", "gxf", "rm", "wtv", "ivf", "gif",
        "dv",
        "mp3", "aac", "loas", "ac3", "eac3", "truehd", "mlp", "dts", "dtshd", "amr", "flac", "ape", "wv", "tta", "tak",
        "mpc",
        "mpc8", "shn", "dsf", "iff", "oma", "aptx", "wav", "w64", "aiff", "caf", "au", "voc", "xwma", "qcp", "sox",
        "h261", "h263", "h264", "hevc", "mpegvideo", "m4v", "vc1", "cavsvideo", "dirac", "obu", "yuv4mpegpipe",
    ].joined(separator: ",")
    /// Raw video streams. They store no times; FFmpeg invents them.
    private static let untimed = ["h261", "h263", "h264", "hevc", "mpegvideo", "m4v", "vc1", "cavsvideo", "dirac"]

    let name: String
    private let stream: ReaderStream
    private let limits: MediaLimits
    private var context: UnsafeMutablePointer<AVFormatContext>?

    /// Opens a container and finds its tracks, decoding a little of each.
    ///
    /// - Throws: `LyraError(.io)` if the reader fails, `.format` if the bytes are no such container, `.memory` if a
    ///   limit does not allow the file, `.missing` without FFmpeg, `.state` if interrupted.
    init(reader: any ByteReader, name: String, limits: MediaLimits, interrupted: @escaping () -> Bool) throws {
        self.name = name
        self.limits = limits
        try MediaLibrary.ffmpeg.require(for: name)
        _ = try reader.checkedSize(name: name)
        let reader = try LeadingTags.skipped(reader, name: name)
        stream = try ReaderStream(reader: reader, name: name, interrupted: interrupted)
        try stream.check()
        let format = try MediaFormat(reader, name: name)
        try MovieTables.check(reader, name: name) { [stream] in try stream.check() }
        try RIFFLists.check(reader, name: name) { [stream] in try stream.check() }
        try MediaLog.quiet { try open(format) }
    }

    // `stream` is a stored property, so it outlives the context.
    deinit { MediaLog.quiet { avformat_close_input(&context) } }

    private func open(_ format: MediaFormat) throws {
        guard let opening = avformat_alloc_context() else {
            throw LyraError(.memory, "\(name): no memory to open the file")
        }
        opening.pointee.pb = stream.context
        opening.pointee.flags |= AVFMT_FLAG_CUSTOM_IO
        opening.pointee.io_open = { _, _, _, _, _ in lyra_av_io_error() }
        opening.pointee.max_streams = Int32(clamping: limits.tracks)
        opening.pointee.format_whitelist = av_strdup(Self.containers)
        opening.pointee.protocol_whitelist = av_strdup("none")
        context = opening
        // On failure the context is freed and the pointer cleared.
        let opened = avformat_open_input(&context, nil, format.demuxer.flatMap { av_find_input_format($0) }, nil)
        try stream.check()
        guard opened >= 0, context != nil else {
            throw Self.error(opened, "\(name): cannot be opened as video or audio")
        }
        let status = avformat_find_stream_info(context, nil)
        try stream.check()
        guard status >= 0 else { throw Self.error(status, "\(name): its tracks cannot be determined") }
    }

    private static func error(_ status: Int32, _ what: String) -> LyraError {
        LyraError(status == lyra_av_no_memory() ? .memory : .format, "\(what): \(MediaLog.reason(status))")
    }

    /// Whether the file itself states the times of frames.
    var hasTimes: Bool {
        guard let format = context?.pointee.iformat?.pointee.name else { return false }
        return !Self.untimed.contains(String(cString: format))
    }

    /// Whether times may restart or jump within a file of this format (`AVFMT_TS_DISCONT`).
    var timesMayJump: Bool { (context?.pointee.iformat?.pointee.flags ?? 0) & AVFMT_TS_DISCONT != 0 }

    /// The track of a type that a player would choose, or nil if there is none that can be decoded.
    func bestTrack(_ type: AVMediaType) -> Int? {
        let index = Int(av_find_best_stream(context, type, -1, -1, nil, 0))
        guard let track = track(index), track.pointee.disposition & AV_DISPOSITION_ATTACHED_PIC == 0,
            avcodec_find_decoder(track.pointee.codecpar.pointee.codec_id) != nil
        else { return nil }
        return index
    }

    /// A track, valid as long as this object.
    func track(_ index: Int) -> UnsafeMutablePointer<AVStream>? {
        guard let context, index >= 0, index < Int(context.pointee.nb_streams) else { return nil }
        return context.pointee.streams[index]
    }

    /// Seconds that the container states, or nil.
    var statedSeconds: Double? {
        guard let duration = context?.pointee.duration, duration != lyra_av_no_time(), duration > 0 else { return nil }
        return Double(duration) / Double(lyra_av_time_base())
    }

    /// Reads only this track from now on.
    func keepOnly(_ index: Int) {
        guard let context else { return }
        for other in 0..<Int(context.pointee.nb_streams) {
            context.pointee.streams[other]?.pointee.discard = other == index ? AVDISCARD_DEFAULT : AVDISCARD_ALL
        }
    }

    /// Reads the next packet of a track.
    ///
    /// - Returns: false at the end, or at damage from which libavformat does not recover.
    /// - Throws: `LyraError(.io)` if the reader fails, `.state` if interrupted, `.memory` if a packet is too large.
    func read(track: Int, into packet: UnsafeMutablePointer<AVPacket>) throws -> Bool {
        while true {
            av_packet_unref(packet)
            try stream.check()
            let status = MediaLog.quiet { av_read_frame(context, packet) }
            try stream.check()
            if status == lyra_av_no_memory() { throw LyraError(.memory, "\(name): no memory to read a packet") }
            guard status >= 0 else { return false }
            guard Int(packet.pointee.stream_index) == track else { continue }
            guard Int(packet.pointee.size) <= limits.packetBytes else {
                throw LyraError(
                    .memory,
                    "\(name): a packet of \(packet.pointee.size) bytes; lyra reads at most "
                        + "\(limits.packetBytes)"
                )
            }
            return true
        }
    }

    /// Whether seeking is fast. libavformat's search takes quadratic time in the frames that an edit list discards.
    private lazy var isQuickToSeek: Bool = {
        let maxDiscarded = 4096
        var discarded = 0
        for index in 0..<Int(context?.pointee.nb_streams ?? 0) {
            guard let track = track(index) else { continue }
            for entry in 0..<avformat_index_get_entries_count(track) {
                guard let found = avformat_index_get_entry(track, entry) else { break }
                discarded += Int(found.pointee.flags & AVINDEX_DISCARD_FRAME) == 0 ? 0 : 1
            }
        }
        return discarded <= maxDiscarded
    }()

    /// Moves to the last key frame at or before `time`, in the track's time base.
    ///
    /// - Returns: Whether the container can seek.
    func seek(track: Int, to time: Int64) throws -> Bool {
        guard isQuickToSeek else { return false }
        let status = MediaLog.quiet { av_seek_frame(context, Int32(track), time, AVSEEK_FLAG_BACKWARD) }
        try stream.check()
        return status >= 0
    }

    /// Throws the reader's first error, or `LyraError(.state)` if interrupted.
    func check() throws { try stream.check() }
}
