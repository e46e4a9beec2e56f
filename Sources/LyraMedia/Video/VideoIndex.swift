import CFFmpeg
import Glibc
import LyraBase

/// The presentation times of a video's frames, and its key frames.
///
/// Times may go back or jump where recordings were joined. The frames of one recording are a `Stretch`; the first frame
/// of a stretch is shown when the last frame of the stretch before ends.
final class VideoIndex {
    /// The smallest distance, in frames, at which seeking to a key frame is faster than decoding up to it.
    static let seekDistance = 12

    private struct Entry: BitwiseCopyable {
        var time: Int64
        /// The packets with frames before this frame's packet.
        var place: UInt32
        var isKey: Bool
        var isMarked = false
        var isSkipped = false
    }

    private struct Stretch {
        let firstPlace: Int
        var first: Int64
        var last: Int64
        /// The duration of the last frame.
        var duration: Int64
        /// Added to the times of the stretch.
        var offset: Int64 = 0

        /// Ticks from the first frame to the end of the last; nil on overflow.
        ///
        /// - Parameter frames: The frames of the stretch.
        func span(frames: Int) -> Int64? {
            guard let length = last.checkedSubtracting(first) else { return nil }
            let mean = frames > 1 ? length / Int64(frames - 1) : 0
            return length.checkedAdding(duration > 0 ? duration : mean)
        }
    }

    /// In seconds. A smaller step back means damaged or reordered packets, unless it is at a key frame; a smaller step
    /// forward is a pause. (The ffmpeg command has the same numbers, except for 0.1 s instead of the first.)
    private static let minStepBack = 1.0
    private static let minJump = 10.0
    private static let minJumpWithoutRestarts = 108_000.0

    private let entries = GrowingBuffer<Entry>()
    private let stretches = GrowingBuffer<Stretch>()
    private var counter: TimeCounter
    private var lastDecoded: Int64?
    private let ticksBack: Int64
    private let ticksJump: Int64
    /// Whether every frame has a time. If not, frames are numbered in decoding order.
    private(set) var hasTimes: Bool
    /// Ticks from the first frame to the end of the last, or nil if frames have no times.
    private(set) var span: Int64?

    /// - Parameters:
    ///   - tick: The unit of times, in seconds.
    ///   - hasTimes: Whether the file stores times.
    ///   - timesMayJump: Whether times may restart in files of this format, so that a jump forward is no pause.
    ///   - counter: Unwraps times.
    init(tick: Double, hasTimes: Bool, timesMayJump: Bool, counter: TimeCounter) {
        self.hasTimes = hasTimes
        self.counter = counter
        let jump = timesMayJump ? Self.minJump : Self.minJumpWithoutRestarts
        func ticks(_ seconds: Double) -> Int64 { tick > 0 ? Int64(min(seconds / tick, 0x1p60)) : .max }
        (ticksBack, ticksJump) = (ticks(Self.minStepBack), ticks(jump))
    }

    var count: Int { entries.count }

    /// Whether recordings were joined or times wrap, so that `TimeCounter` and `time(_:ofPacket:)` must correct packet
    /// times.
    var isJoined: Bool { hasTimes && (stretches.count > 1 || counter.hasWrapped) }

    /// Whether a packet holds a frame that is shown.
    static func isFrame(_ packet: AVPacket) -> Bool { packet.flags & AV_PKT_FLAG_DISCARD == 0 && packet.size > 0 }

    /// Adds the next packet of the file, if it holds a frame.
    ///
    /// - Throws: `LyraError(.memory)`.
    func add(_ packet: AVPacket) throws {
        guard Self.isFrame(packet) else { return }
        if packet.pts == lyra_av_no_time() { hasTimes = false }
        let isKey = packet.flags & AV_PKT_FLAG_KEY != 0
        var shown = packet.pts
        if hasTimes {
            let time = counter.times(of: packet)
            shown = time.shown
            let duration = max(packet.duration, 0)
            if entries.count == 0 || beginsStretch(shown, decoded: time.decoded, isKey: isKey) {
                try stretches.append(
                    Stretch(firstPlace: entries.count, first: shown, last: shown, duration: duration))
            } else {
                extend(to: shown, duration: duration)
            }
            lastDecoded = time.decoded
        }
        try entries.append(Entry(time: shown, place: UInt32(clamping: entries.count), isKey: isKey))
    }

    private func extend(to time: Int64, duration: Int64) {
        let index = stretches.count - 1
        if time < stretches.elements[index].first { stretches.elements[index].first = time }
        if time > stretches.elements[index].last {
            stretches.elements[index].last = time
            stretches.elements[index].duration = duration
        }
    }

    /// Whether a packet is the first of another recording. Frames decoded before a key frame are also shown before it,
    /// so an earlier key frame time belongs to another recording.
    private func beginsStretch(_ time: Int64, decoded: Int64, isKey: Bool) -> Bool {
        guard let stretch = stretches.elements.last, let lastDecoded else { return false }
        if isKey, time < stretch.last { return true }
        guard let step = decoded.checkedSubtracting(lastDecoded) else { return true }
        return step < -ticksBack || step > ticksJump
    }

    /// Sorts the frames into presentation order. Call it after the last packet.
    func finish() {
        guard hasTimes else { return }
        span = joinStretches()
        if span == nil { hasTimes = false }
        guard hasTimes else { return }
        for index in entries.elements.indices {
            let entry = entries.elements[index]
            entries.elements[index].time = time(entry.time, ofPacket: Int(entry.place))
        }
        guard let base = entries.elements.baseAddress else { return }
        qsort(base, entries.count, MemoryLayout<Entry>.stride) { left, right in
            guard let a = left?.load(as: Entry.self), let b = right?.load(as: Entry.self) else { return 0 }
            return (a.time, a.place) < (b.time, b.place) ? -1 : 1
        }
    }

    /// Sets the offsets of the stretches. → ticks of all stretches; nil on overflow
    private func joinStretches() -> Int64? {
        guard let first = stretches.elements.first else { return nil }
        var end = first.first
        for index in stretches.elements.indices {
            let stretch = stretches.elements[index]
            let next = index + 1 < stretches.count ? stretches.elements[index + 1].firstPlace : entries.count
            guard let span = stretch.span(frames: next - stretch.firstPlace) else { return nil }
            // A single frame without a duration must not share its time with the next.
            guard let offset = end.checkedSubtracting(stretch.first), let next = end.checkedAdding(max(span, 1)) else {
                return nil
            }
            stretches.elements[index].offset = offset
            end = next
        }
        return end.checkedSubtracting(first.first)
    }

    func time(of frame: Int) -> Int64 { entries.elements[frame].time }

    /// The packets with frames before the packet of a frame.
    func place(of frame: Int) -> Int { Int(entries.elements[frame].place) }

    /// The presentation time of a frame.
    ///
    /// - Parameters:
    ///   - time: The packet's time from `TimeCounter`.
    ///   - place: The packets with frames before the packet.
    func time(_ time: Int64, ofPacket place: Int) -> Int64 {
        var (low, high) = (0, stretches.count)
        while low < high {
            let middle = (low + high) / 2
            if stretches.elements[middle].firstPlace <= place { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? time &+ stretches.elements[low - 1].offset : time
    }

    /// The index of the last frame at or before a time; 0 if all frames are later.
    func frame(at time: Int64) -> Int {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries.elements[middle].time <= time { low = middle + 1 } else { high = middle }
        }
        return max(low - 1, 0)
    }

    /// The last key frame at or before a frame; 0 if there is none.
    func keyFrame(atOrBefore frame: Int) -> Int {
        var frame = frame
        while frame > 0, !entries.elements[frame].isKey { frame -= 1 }
        return frame
    }

    /// Marks the selected frames, and unmarks all others.
    func mark(_ frames: [Int]) {
        for frame in entries.elements.indices { entries.elements[frame].isMarked = false }
        for frame in frames { entries.elements[frame].isMarked = true }
    }

    /// Records that the frame at this time is not decoded.
    func markSkipped(_ time: Int64) {
        let frame = frame(at: time)
        if entries[frame].time == time { entries[frame].isSkipped = true }
    }

    /// Forgets which frames were skipped.
    func clearSkipped() { for frame in 0..<entries.count { entries[frame].isSkipped = false } }

    /// The number of frames in a range that were not skipped. Packets with the same time count once: VP8 has packets
    /// without a visible frame.
    func decoded(_ frames: ClosedRange<Int>) -> Int {
        var (count, last) = (0, Int64?.none)
        for entry in entries.elements[frames] where !entry.isSkipped && entry.time != last {
            (count, last) = (count + 1, entry.time)
        }
        return count
    }

    func isMarked(_ time: Int64) -> Bool {
        let frame = frame(at: time)
        return entries.elements[frame].time != time || entries.elements[frame].isMarked
    }
}
