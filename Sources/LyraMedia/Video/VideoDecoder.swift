import CFFmpeg
import LyraBase

/// Decodes chosen frames of a video, upright, as RGB.
///
/// First `scan` counts the frames, a few packets a call; then `select` says which are wanted, and `nextFrame` gives
/// them one by one. Frames are counted in the order in which they are shown. The declared range and matrix of the
/// colours are honoured (BT.601 of limited range where nothing is declared), sample aspect ratio and alpha are not.
///
/// A damaged or truncated file gives, for a frame that cannot be decoded, the last one before it that can. It belongs
/// to one thread at a time.
public final class VideoDecoder {
    public let name: String
    /// Of the upright pictures.
    public let width: Int
    /// Of the upright pictures.
    public let height: Int
    /// Whether there is a sound track that can be decoded.
    public let hasAudio: Bool
    /// Frames counted so far; all of them once `scan` returned true.
    public var frameCount: Int { index.count }
    /// Frames a second on average: what the container says, or else frames through duration. 0 before the scan is done.
    public private(set) var averageFrameRate = 0.0
    /// Seconds from the first frame to the end of the last. 0 before the scan is done.
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
    /// Whether a thread was left behind that still converts a frame.
    private var isLeft = false

    private var selected: [Int] = []
    /// How many of `selected` were given.
    private var given = 0
    private var lastGiven: (index: Int, image: RGBImage)?

    /// The frame decoded last, and the one before it; which of them hold one.
    private var current: Frame
    private var previous: Frame
    private var hasCurrent = false
    private var hasPrevious = false
    /// The position in showing order of the frame decoded last, for files without times.
    private var framesDecoded = 0
    /// Frames that came out since decoding began, from the key frame there on.
    private var framesShown = 0
    /// Which of them are missing though they were decoded twice.
    private var damaged = 0
    private var secondTries = 0
    /// A file that needs more of them is damaged.
    private static let mostSecondTries = 3
    /// Where decoding began last: the index of a key frame.
    private var start = 0
    /// Whether the container was told to go there, which it may have done inexactly.
    private var isSought = false
    /// How often decoding began further back for a frame that was missing.
    private var retries = 0
    private static let mostRetries = 32
    /// Frames' packets of the file that were read since its beginning, and how many of them are passed over at least:
    /// counted where the container cannot go to a frame, since times alone do not say which it is.
    private var packetsRead = 0
    private var packetsSkipped = 0
    /// Of those packets' times.
    private var counter = TimeCounter(bits: 0)
    /// Whether decoding may begin at a key frame in the middle: not after that led past a frame that was looked for.
    private var seeks = true

    /// Opens a video and finds its best track.
    /// - Parameters:
    ///   - interrupted: Asked between packets and reads; true ends the call with `LyraError(.state)`.
    /// - Throws: `LyraError(.io)` if the file cannot be read, `.format` if it is no video, `.missing` if it has no
    ///   video track, `.unsupported` if there is no decoder for it, `.memory` if a limit forbids it, `.state` if
    ///   interrupted.
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
            throw LyraError(.format, "\(name): not one frame can be decoded to learn the video's size")
        }
        guard width <= RGBImage.longestSide, height <= RGBImage.longestSide, width * height <= limits.videoPixels else {
            throw LyraError(
                .memory,
                "\(name): a video of \(width) × \(height) pixels; MediaLimits.videoPixels allows \(limits.videoPixels)")
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
    /// - Returns: true once all are counted; then `frameCount`, `duration` and `averageFrameRate` are known.
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
                    .memory, "\(name): more than \(limits.videoFrames) frames, which is MediaLimits.videoFrames")
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
        // A container whose frames have no times may know the length of the last of several joined files only.
        let counted = stated > 0 ? Double(index.count) / stated : decoder.file.statedSeconds ?? 0
        duration = index.span.map { Double($0) * tick } ?? counted
        if !(duration > 0) { duration = counted }
        averageFrameRate = stated > 0 ? stated : duration > 0 ? Double(index.count) / duration : 0
        guard duration <= limits.videoSeconds else {
            throw LyraError(
                .memory,
                "\(name): a video of \(Int(min(duration, 1e15))) s; MediaLimits.videoSeconds allows "
                    + "\(limits.videoSeconds)"
            )
        }
        isScanned = true
        packetsRead = index.count
        try begin(at: 0)
    }

    // MARK: - Decoding

    /// Says which frames `nextFrame` gives, counted from 0 in the order in which they are shown.
    /// - Parameter indices: Ascending; an index may come twice.
    /// - Throws: `LyraError(.state)` before the scan is done, `.argument` if an index is out of range or order.
    public func select(_ indices: [Int]) throws {
        guard isScanned else { throw LyraError(.state, "\(name): frames are chosen before they were counted") }
        for (place, index) in indices.enumerated() {
            guard (0..<frameCount).contains(index), place == 0 || indices[place - 1] <= index else {
                throw LyraError(
                    .argument, "\(name): frame \(index) is chosen of \(frameCount); indices must be ascending")
            }
        }
        selected = indices
        given = 0
        self.index.mark(indices)
    }

    /// Decodes the next of the selected frames.
    /// - Returns: nil after the last.
    /// - Throws: `LyraError(.format)` if no frame can be decoded, `.io`, `.memory`, `.state` if interrupted.
    public func nextFrame() throws -> RGBImage? {
        guard given < selected.count else { return nil }
        let target = selected[given]
        if let last = lastGiven, last.index == target {
            given += 1
            return last.image
        }
        if let key = keyFrame(before: target) { try begin(at: key) }
        let image = try converted(wholeFrame(for: target))
        lastGiven = (target, image)
        given += 1
        return image
    }

    /// A frame as an upright picture.
    private func converted(_ frame: Frame) throws -> RGBImage {
        guard !isLeft else { throw LyraError(.state, "\(name): interrupted") }
        guard Self.isLarge(width, height) else { return try scaler.convert(frame.pointer, orientation: orientation) }
        isLeft = true
        let image = try BackgroundWork.run(name: name, interrupted: interrupted) { [scaler, orientation] _ in
            try scaler.convert(frame.pointer, orientation: orientation)
        }
        isLeft = false
        return image
    }

    /// Whether a call of the decoder takes longer than the thread that it would run on.
    private static func isLarge(_ width: Int, _ height: Int) -> Bool {
        width * height >= BackgroundWork.leastPixels
    }

    /// The key frame to begin at if decoding on would take longer, or if the target lies behind.
    private func keyFrame(before target: Int) -> Int? {
        let here = position
        if index.hasTimes, seeks {
            let key = index.keyFrame(atOrBefore: target)
            if here > target || key > here + VideoIndex.worthSeeking { return key }
            return nil
        }
        return here > target ? 0 : nil
    }

    /// The index of the frame decoded last, or of the key frame where decoding began.
    private var position: Int {
        guard hasCurrent else { return start }
        return index.hasTimes ? index.frame(at: Self.time(of: current)) : framesDecoded - 1
    }

    private static func time(of frame: Frame) -> Int64 {
        let time = frame.pointer.pointee.pts
        return time != lyra_av_no_time() ? time : frame.pointer.pointee.best_effort_timestamp
    }

    /// The same as `frame(for:)`; but where frames up to the target are missing, they are decoded once more: decoders
    /// that find no memory for a frame leave it out, as they do with a damaged one, and what refers to it is then
    /// another.
    ///
    /// - Throws: `LyraError(.memory)` if they are missing again and there is no memory.
    private func wholeFrame(for target: Int) throws -> Frame {
        let frame = try frame(for: target)
        guard missing(upTo: target) > damaged, secondTries < Self.mostSecondTries else { return frame }
        secondTries += 1
        try begin(at: start)
        let again = try self.frame(for: target)
        damaged = missing(upTo: target)
        if damaged > 0 {
            // What a decoder holds of some frames.
            try requireMemory(16 * width * height)
        }
        return again
    }

    /// Frames from where decoding began up to the target that did not come out.
    private func missing(upTo target: Int) -> Int {
        guard index.hasTimes, start <= target else { return 0 }
        let isPast = hasCurrent && Self.time(of: current) > index.time(of: target)
        return index.decoded(start...target) - (isPast ? framesShown - 1 : framesShown)
    }

    /// Decodes on until the target, or past it if it is missing.
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

    /// Tries again from further back, where a frame is missing that decoding from the beginning might give.
    ///
    /// A container may seek to behind the frame, and a decoder may drop frames that follow a key frame which is no
    /// clean start.
    /// - Parameter hasBefore: Whether a frame before the missing one was decoded.
    /// - Returns: false if that would change nothing, or was tried often enough: the frame is damaged.
    private func beginEarlier(hasBefore: Bool) throws -> Bool {
        guard isSought else { return false }
        if !hasBefore {
            seeks = false
            try begin(at: 0)
            return true
        }
        guard start > 0, retries < Self.mostRetries else { return false }
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

    /// Gives a packet the time at which its frame is shown. → whether it is to be decoded
    private func prepare(_ packet: inout AVPacket) -> Bool {
        if index.isJoined, VideoIndex.isFrame(packet) {
            packetsRead += 1
            let time = counter.times(of: packet).shown
            if packetsRead <= packetsSkipped { return false }
            packet.pts = index.time(time, ofPacket: packetsRead - 1)
            packet.dts = lyra_av_no_time()
        }
        // Only H.264 says reliably which frames no other frame needs.
        guard index.hasTimes, let track = decoder.file.track(decoder.track),
            let packets = H264Packets(track.pointee.codecpar.pointee), !index.isMarked(packet.pts),
            packets.isUnreferenced(packet)
        else { return true }
        index.leaveOut(packet.pts)
        return false
    }

    /// Makes a key frame the next to be decoded.
    private func begin(at key: Int) throws {
        hasCurrent = false
        hasPrevious = false
        (framesDecoded, framesShown, damaged) = (0, 0, 0)
        index.leaveOutNone()
        start = key
        isSought = seeks && index.hasTimes
        if index.isJoined {
            try read(toPlace: index.place(of: key))
            return
        }
        if isSought, try decoder.file.seek(track: decoder.track, to: index.time(of: key)) {
            decoder.flush()
            return
        }
        start = 0
        isSought = false
        try reopen()
    }

    /// Passes over packets up to a frame's.
    private func read(toPlace place: Int) throws {
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
