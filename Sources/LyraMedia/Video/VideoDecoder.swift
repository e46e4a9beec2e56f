import CFFmpeg
import LyraBase

/// Decodes chosen frames of a video, upright, as RGB.
///
/// First `scan` counts the frames, a few packets in each call. Then `select` chooses frames, and `nextFrame` returns
/// them one by one. Frames are numbered in presentation order. Declared color range and matrix are used (limited-range
/// BT.601 if none are declared); sample aspect ratio and alpha are ignored.
///
/// In a damaged or truncated file, a frame that cannot be decoded is replaced by the last decodable frame before it, or
/// else by the next. Use the decoder from one thread at a time.
public final class VideoDecoder {
    public let name: String
    /// The width of the upright frames.
    public let width: Int
    /// The height of the upright frames.
    public let height: Int
    /// Whether the file has an audio track that can be decoded.
    public let hasAudio: Bool
    /// Frames counted so far; all frames after `scan` returned true.
    public var frameCount: Int { index.count }
    /// The average frames a second: stated by the container, or else frames / duration. 0 until the scan is done.
    public private(set) var averageFrameRate = 0.0
    /// Seconds from the first frame to the end of the last. 0 until the scan is done.
    public private(set) var duration = 0.0

    private let reader: any ByteReader
    private let limits: MediaLimits
    private let interrupted: () -> Bool
    private var decoder: TrackDecoder
    private let packet: Packet
    private let orientation: Orientation
    private let scaler: FrameScaler
    private let index: VideoIndex
    private var isScanned = false
    /// Whether an abandoned thread still converts a frame.
    private var isAbandoned = false

    private var selected: [Int] = []
    /// How many of `selected` were returned.
    private var returned = 0
    private var lastReturned: (index: Int, image: RGBImage)?

    /// The last decoded frame and the frame before that; `hasCurrent` and `hasPrevious` tell whether they hold one.
    private var current: Frame
    private var previous: Frame
    private var hasCurrent = false
    private var hasPrevious = false
    /// Frames decoded so far. In files without times, this numbers the frames.
    private var framesDecoded = 0
    /// Frames decoded since the key frame `start`, with different times.
    private var framesShown = 0
    /// Frames that were still missing after a second try.
    private var damaged = 0
    /// How often frames were decoded again because some were missing.
    private var secondTries = 0
    /// The most second tries; a file that needs more is taken for damaged.
    private static let maxSecondTries = 3
    /// The index of the key frame where decoding began last.
    private var start = 0
    /// Whether that key frame was reached by a seek of the container, which may be inexact.
    private var usedSeek = false
    /// How often decoding began further back for a missing frame.
    private var retries = 0
    private static let maxRetries = 32
    /// For joined files, where the container cannot seek to a frame and times are ambiguous: the packets with frames
    /// that were read from the beginning of the file, and how many of these are skipped.
    private var packetsRead = 0
    private var packetsSkipped = 0
    /// Unwraps the times of these packets.
    private var counter = TimeCounter(bits: 0)
    /// Whether decoding may begin with a seek. False after a seek went past the wanted frame.
    private var canSeek = true

    /// Opens a video and finds its best track.
    ///
    /// - Parameters:
    ///   - interrupted: Polled between packets and reads; true ends the call with `LyraError(.state)`.
    /// - Throws: `LyraError(.io)` if the file cannot be read, `.format` if it is no video, `.missing` if it has no
    ///   video track, `.unsupported` if no decoder is installed for the track, `.memory` if the file exceeds a limit,
    ///   `.state` if interrupted.
    public init(
        reader: any ByteReader, name: String, limits: MediaLimits = MediaLimits(),
        interrupted: @escaping () -> Bool = { false }
    ) throws {
        self.reader = reader
        self.name = name
        self.limits = limits
        self.interrupted = interrupted
        let file = try MediaFile(reader: reader, name: name, limits: limits, interrupted: interrupted)
        guard let number = file.bestTrack(AVMEDIA_TYPE_VIDEO), let track = file.track(number) else {
            throw LyraError(.missing, "\(name): has no video track that can be decoded")
        }
        hasAudio = file.bestTrack(AVMEDIA_TYPE_AUDIO) != nil
        file.keepOnly(number)
        let parameters = track.pointee.codecpar.pointee
        let (columns, rows) = (Int(parameters.width), Int(parameters.height))
        try Self.check(width: columns, height: rows, limits: limits, name: name)
        orientation = Self.orientation(of: track)
        (width, height) = orientation.isTransposed ? (rows, columns) : (columns, rows)
        scaler = try FrameScaler(width: columns, height: rows, name: name)
        decoder = try TrackDecoder(
            file: file, track: number, codec: Self.codec(for: track, limits: limits, name: name),
            interrupted: Self.isLarge(columns, rows) ? interrupted : nil)
        index = VideoIndex(
            tick: av_q2d(track.pointee.time_base), hasTimes: file.hasTimes, timesMayJump: file.timesMayJump,
            counter: TimeCounter(bits: Int(track.pointee.pts_wrap_bits)))
        packet = try Packet()
        current = try Frame()
        previous = try Frame()
    }

    /// Opens a video file.
    public convenience init(
        path: String, limits: MediaLimits = MediaLimits(), interrupted: @escaping () -> Bool = { false }
    ) throws {
        let reader = try FileByteReader(path: path, limits: limits, interrupted: interrupted)
        try self.init(reader: reader, name: path, limits: limits, interrupted: interrupted)
    }

    // MARK: - Opening

    private static func check(width: Int, height: Int, limits: MediaLimits, name: String) throws {
        guard width > 0, height > 0 else {
            throw LyraError(.format, "\(name): no frame can be decoded, so the size of the video is unknown")
        }
        guard width <= RGBImage.longestSide, height <= RGBImage.longestSide, width * height <= limits.videoPixels else {
            throw LyraError(
                .memory,
                "\(name): a video of \(width) × \(height) pixels; limit_pixels allows \(limits.videoPixels)")
        }
    }

    private static func orientation(of track: UnsafeMutablePointer<AVStream>) -> Orientation {
        var size = 0
        guard let data = av_stream_get_side_data(track, AV_PKT_DATA_DISPLAYMATRIX, &size),
            size >= 9 * MemoryLayout<Int32>.size
        else { return .upright }
        return data.withMemoryRebound(to: Int32.self, capacity: 9) { Orientation(displayMatrix: $0) }
    }

    private static func codec(
        for track: UnsafeMutablePointer<AVStream>, limits: MediaLimits, name: String
    ) throws -> CodecContext {
        let threads = limits.threads > 0 ? limits.threads : min(Int(av_cpu_count()), 8)
        return try CodecContext(
            track.pointee.codecpar.pointee.codec_id, parameters: track.pointee.codecpar, name: name
        ) {
            $0.thread_count = Int32(clamping: threads)
            $0.thread_type = FF_THREAD_FRAME | FF_THREAD_SLICE
            $0.max_pixels = CodecContext.maxPixels(allowing: limits.videoPixels)
            $0.pkt_timebase = track.pointee.time_base
        }
    }

    // MARK: - Counting

    /// Counts frames: reads at most `packets` packets, without decoding them.
    ///
    /// - Returns: true when all frames are counted; then `frameCount`, `duration` and `averageFrameRate` are known.
    /// - Throws: `LyraError(.format)` if there are no frames, `.memory` if there are more than the limits allow, `.io`,
    ///   `.state` if interrupted.
    public func scan(packets: Int) throws -> Bool {
        if isScanned { return true }
        for _ in 0..<max(packets, 1) {
            guard try decoder.file.read(track: decoder.track, into: packet.pointer) else {
                try finishScan()
                return true
            }
            try index.add(packet.pointer.pointee)
            guard index.count <= limits.videoFrames else {
                throw LyraError(
                    .memory, "\(name): more than \(limits.videoFrames) frames, the most that lyra reads")
            }
        }
        return false
    }

    private func finishScan() throws {
        guard index.count > 0, let track = decoder.file.track(decoder.track) else {
            throw LyraError(.format, "\(name): the video track has no frames")
        }
        index.finish()
        let tick = av_q2d(track.pointee.time_base)
        let rate = track.pointee.avg_frame_rate
        let stated = rate.num > 0 && rate.den > 0 ? av_q2d(rate) : 0
        // Without times, a container of joined files may state only the length of the last file.
        let counted = stated > 0 ? Double(index.count) / stated : decoder.file.statedSeconds ?? 0
        duration = index.span.map { Double($0) * tick } ?? counted
        if !(duration > 0) { duration = counted }
        averageFrameRate = stated > 0 ? stated : duration > 0 ? Double(index.count) / duration : 0
        guard duration <= limits.videoSeconds else {
            throw LyraError(
                .memory,
                "\(name): a video of \(Int(min(duration, 1e15))) s; limit_seconds allows "
                    + "\(limits.videoSeconds)"
            )
        }
        isScanned = true
        packetsRead = index.count
        try begin(at: 0)
    }

    // MARK: - Decoding

    /// Chooses the frames that `nextFrame` returns, numbered from 0 in presentation order.
    ///
    /// - Parameter indices: Ascending; an index may be repeated.
    /// - Throws: `LyraError(.state)` before the scan is done, `.argument` if an index is out of range or order.
    public func select(_ indices: [Int]) throws {
        guard isScanned else { throw LyraError(.state, "\(name): select was called before scan counted all frames") }
        for (place, index) in indices.enumerated() {
            guard (0..<frameCount).contains(index), place == 0 || indices[place - 1] <= index else {
                throw LyraError(
                    .argument, "\(name): frame \(index) of \(frameCount) is chosen; indices must be ascending")
            }
        }
        selected = indices
        returned = 0
        self.index.mark(indices)
    }

    /// Decodes the next selected frame.
    ///
    /// - Returns: nil after the last.
    /// - Throws: `LyraError(.format)` if no frame can be decoded, `.io`, `.memory`, `.state` if interrupted.
    public func nextFrame() throws -> RGBImage? {
        guard returned < selected.count else { return nil }
        let target = selected[returned]
        if let last = lastReturned, last.index == target {
            returned += 1
            return last.image
        }
        if let key = keyFrame(before: target) { try begin(at: key) }
        let image = try converted(wholeFrame(for: target))
        lastReturned = (target, image)
        returned += 1
        return image
    }

    /// Converts a frame to an upright RGB image.
    private func converted(_ frame: Frame) throws -> RGBImage {
        guard !isAbandoned else { throw LyraError(.state, "\(name): interrupted") }
        guard Self.isLarge(width, height) else { return try scaler.convert(frame.pointer, orientation: orientation) }
        isAbandoned = true
        let image = try BackgroundWork.run(name: name, interrupted: interrupted) { [scaler, orientation] _ in
            try scaler.convert(frame.pointer, orientation: orientation)
        }
        isAbandoned = false
        return image
    }

    /// Whether frames of this size are worth a thread of their own.
    private static func isLarge(_ width: Int, _ height: Int) -> Bool {
        width * height >= BackgroundWork.leastPixels
    }

    /// The key frame from which to decode; nil if continuing from the current position is faster.
    private func keyFrame(before target: Int) -> Int? {
        let here = position
        if index.hasTimes, canSeek {
            let key = index.keyFrame(atOrBefore: target)
            if here > target || key > here + VideoIndex.seekDistance { return key }
            return nil
        }
        return here > target ? 0 : nil
    }

    /// The index of the last decoded frame, or of the key frame where decoding began.
    private var position: Int {
        guard hasCurrent else { return start }
        return index.hasTimes ? index.frame(at: Self.time(of: current)) : framesDecoded - 1
    }

    private static func time(of frame: Frame) -> Int64 {
        let time = frame.pointer.pointee.pts
        return time != lyra_av_no_time() ? time : frame.pointer.pointee.best_effort_timestamp
    }

    /// `frame(for:)`, with a second try if frames before the target are missing. A decoder that gets no memory for a
    /// frame drops the frame as if it were damaged, and frames that refer to it are then wrong.
    ///
    /// - Throws: `LyraError(.memory)` if frames are missing again and memory is short.
    private func wholeFrame(for target: Int) throws -> Frame {
        let frame = try frame(for: target)
        guard missing(upTo: target) > damaged, secondTries < Self.maxSecondTries else { return frame }
        secondTries += 1
        try begin(at: start)
        let again = try self.frame(for: target)
        damaged = missing(upTo: target)
        if damaged > 0 {
            // Roughly the memory of the frames that a decoder holds.
            try requireMemory(16 * width * height)
        }
        return again
    }

    /// The number of frames from `start` to the target that the decoder did not return.
    private func missing(upTo target: Int) -> Int {
        guard index.hasTimes, start <= target else { return 0 }
        let isPast = hasCurrent && Self.time(of: current) > index.time(of: target)
        return index.decoded(start...target) - (isPast ? framesShown - 1 : framesShown)
    }

    /// Decodes up to the target, and returns the target or, if it is missing, the frame before it, or else the frame
    /// after it.
    private func frame(for target: Int) throws -> Frame {
        while true {
            if hasCurrent {
                let isExact =
                    index.hasTimes ? Self.time(of: current) == index.time(of: target) : framesDecoded - 1 == target
                if isExact { return current }
                if index.hasTimes, Self.time(of: current) > index.time(of: target) {
                    if try beginEarlier(hasBefore: hasPrevious) { continue }
                    return hasPrevious ? previous : current
                }
            }
            if try decodeNext() { continue }
            if try beginEarlier(hasBefore: hasCurrent) { continue }
            if hasCurrent { return current }
            throw LyraError(.format, "\(name): no frame can be decoded: \(MediaLog.reason(decoder.lastFailure))")
        }
    }

    /// Restarts decoding further back if a frame is missing.
    ///
    /// A container may seek to a position after the frame, and a decoder may drop the frames after a key frame that
    /// does not reset its state.
    ///
    /// - Parameter hasBefore: Whether a frame before the missing one was decoded.
    /// - Returns: false if a restart cannot help, or too many were tried: the frame is damaged.
    private func beginEarlier(hasBefore: Bool) throws -> Bool {
        guard usedSeek else { return false }
        if !hasBefore {
            canSeek = false
            try begin(at: 0)
            return true
        }
        guard start > 0, retries < Self.maxRetries else { return false }
        retries += 1
        let key = index.keyFrame(atOrBefore: start - 1)
        try begin(at: key)
        return true
    }

    private func decodeNext() throws -> Bool {
        let found = try decoder.next(into: previous.pointer, owner: previous) { prepare(&$0.pointee) }
        guard found else {
            hasPrevious = false
            return false
        }
        swap(&current, &previous)
        hasPrevious = hasCurrent
        hasCurrent = true
        framesDecoded += 1
        let time = Self.time(of: current)
        if index.hasTimes, time >= index.time(of: start), !hasPrevious || time != Self.time(of: previous) {
            framesShown += 1
        }
        return true
    }

    /// In joined files, sets the packet's time to the presentation time in `index`. → whether to decode the packet
    private func prepare(_ packet: inout AVPacket) -> Bool {
        if index.isJoined, VideoIndex.isFrame(packet) {
            packetsRead += 1
            let time = counter.times(of: packet).shown
            if packetsRead <= packetsSkipped { return false }
            packet.pts = index.time(time, ofPacket: packetsRead - 1)
            packet.dts = lyra_av_no_time()
        }
        // Only H.264 marks reliably the frames that no other frame needs.
        guard index.hasTimes, let track = decoder.file.track(decoder.track),
            let packets = H264Packets(track.pointee.codecpar.pointee), !index.isMarked(packet.pts),
            packets.isUnreferenced(packet)
        else { return true }
        index.markSkipped(packet.pts)
        return false
    }

    /// Restarts decoding at a key frame.
    private func begin(at key: Int) throws {
        hasCurrent = false
        hasPrevious = false
        (framesDecoded, framesShown, damaged) = (0, 0, 0)
        index.clearSkipped()
        start = key
        usedSeek = canSeek && index.hasTimes
        if index.isJoined {
            try skip(toPlace: index.place(of: key))
            return
        }
        if usedSeek, try decoder.file.seek(track: decoder.track, to: index.time(of: key)) {
            decoder.flush()
            return
        }
        start = 0
        usedSeek = false
        try reopen()
    }

    /// Sets the number of packets to skip, and reopens the file if it was read further.
    private func skip(toPlace place: Int) throws {
        if packetsRead > place { try reopen() } else { decoder.flush() }
        packetsSkipped = place
    }

    private func reopen() throws {
        packetsRead = 0
        let file = try MediaFile(reader: reader, name: name, limits: limits, interrupted: interrupted)
        guard let track = file.track(decoder.track),
            track.pointee.codecpar.pointee.codec_id == decoder.codec.context?.pointee.codec_id
        else { throw LyraError(.io, "\(name): the file changed while it was read") }
        counter = TimeCounter(bits: Int(track.pointee.pts_wrap_bits))
        file.keepOnly(decoder.track)
        decoder = try TrackDecoder(
            file: file, track: decoder.track, codec: Self.codec(for: track, limits: limits, name: name),
            interrupted: Self.isLarge(width, height) ? interrupted : nil)
    }
}
