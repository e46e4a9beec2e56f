import CFFmpeg
import Glibc
import LyraBase

/// When the frames of a video are shown, and where decoding may begin.
///
/// Times may go back or jump where recordings were joined. There a new stretch begins: its first frame is shown when
/// the last of the stretch before it ends.
final class VideoIndex {
    /// Frames between here and a key frame from which on it is quicker to go there than to decode them.
    static let worthSeeking = 12

    private struct Entry: BitwiseCopyable {
        var time: Int64
        /// Packets before it.
        var place: UInt32
        var isKey: Bool
        var isMarked = false
        var isLeftOut = false
    }

    private struct Stretch {
        let firstPlace: Int
        var first: Int64
        var last: Int64
        /// Of the last frame.
        var duration: Int64
        /// What is added to its times.
        var offset: Int64 = 0

        /// Ticks of a stretch of so many frames, to the end of the last.
        func span(frames: Int) -> Int64? {
            let (length, overflow) = last.subtractingReportingOverflow(first)
            guard !overflow else { return nil }
            let mean = frames > 1 ? length / Int64(frames - 1) : 0
            let (span, tooLong) = length.addingReportingOverflow(duration > 0 ? duration : mean)
            return tooLong ? nil : span
        }
    }

    /// In seconds. Times that go back by less belong to damaged or reordered packets, unless at a key frame; those that
    /// go on by less are pauses. (The numbers are those of the ffmpeg command, in which the first is 0.1 s.)
    private static let leastStepBack = 1.0
    private static let leastJump = 10.0
    private static let leastJumpWithoutRestarts = 108_000.0

    private let entries = GrowingBuffer<Entry>()
    private let stretches = GrowingBuffer<Stretch>()
    private var counter: TimeCounter
    private var lastDecoded: Int64?
    private let ticksBack: Int64
    private let ticksJump: Int64
    /// Whether every frame has a time of its own. If not, frames are counted as they come, from the first.
    private(set) var hasTimes: Bool
    /// Ticks from the first frame to the end of the last, or nil if frames have no times.
    private(set) var span: Int64?

    /// - Parameters:
    ///   - tick: Seconds of the times' unit.
    ///   - hasTimes: Whether the file has times at all.
    ///   - timesMayJump: Whether a jump forward is no pause in such files.
    ///   - counter: Unwraps times.
    init(tick: Double, hasTimes: Bool, timesMayJump: Bool, counter: TimeCounter) {
        self.hasTimes = hasTimes
        self.counter = counter
        let jump = timesMayJump ? Self.leastJump : Self.leastJumpWithoutRestarts
        func ticks(_ seconds: Double) -> Int64 { tick > 0 ? Int64(min(seconds / tick, 0x1p60)) : .max }
        (ticksBack, ticksJump) = (ticks(Self.leastStepBack), ticks(jump))
    }

    var count: Int { entries.count }

    /// Whether packets' times are those of the frames only after `TimeCounter` and `time(_:ofPacket:)`.
    var isJoined: Bool { hasTimes && (stretches.count > 1 || counter.hasWrapped) }

    /// Whether a packet is a frame.
    static func isFrame(_ packet: AVPacket) -> Bool { packet.flags & AV_PKT_FLAG_DISCARD == 0 && packet.size > 0 }

    /// Adds the next packet of the file, if it is a frame.
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
            if entries.count == 0 || isJoint(shown, decoded: time.decoded, isKey: isKey) {
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

    /// Frames that are decoded before a key frame are shown before it: an earlier time belongs to another recording.
    private func isJoint(_ time: Int64, decoded: Int64, isKey: Bool) -> Bool {
        guard let stretch = stretches.elements.last, let lastDecoded else { return false }
        if isKey, time < stretch.last { return true }
        let (step, overflow) = decoded.subtractingReportingOverflow(lastDecoded)
        return overflow || step < -ticksBack || step > ticksJump
    }

    /// Puts the frames in the order in which they are shown.
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

    /// Sets the offsets. → ticks of all, nil if times are beyond all bounds or do not go on
    private func joinStretches() -> Int64? {
        guard let first = stretches.elements.first else { return nil }
        var end = first.first
        for index in stretches.elements.indices {
            let stretch = stretches.elements[index]
            let next = index + 1 < stretches.count ? stretches.elements[index + 1].firstPlace : entries.count
            guard let span = stretch.span(frames: next - stretch.firstPlace) else { return nil }
            let (offset, tooFar) = end.subtractingReportingOverflow(stretch.first)
            // A single frame without a duration must not share its time with the next.
            let (sum, overflow) = end.addingReportingOverflow(max(span, 1))
            guard !tooFar, !overflow else { return nil }
            stretches.elements[index].offset = offset
            end = sum
        }
        let (span, overflow) = end.subtractingReportingOverflow(first.first)
        return overflow ? nil : span
    }

    func time(of frame: Int) -> Int64 { entries.elements[frame].time }

    /// Frames' packets before that of a frame.
    func place(of frame: Int) -> Int { Int(entries.elements[frame].place) }

    /// When a frame is shown whose packet has this time, as `TimeCounter` gives it.
    /// - Parameter place: Frames' packets before it.
    func time(_ time: Int64, ofPacket place: Int) -> Int64 {
        var (low, high) = (0, stretches.count)
        while low < high {
            let middle = (low + high) / 2
            if stretches.elements[middle].firstPlace <= place { low = middle + 1 } else { high = middle }
        }
        return low > 0 ? time &+ stretches.elements[low - 1].offset : time
    }

    /// The last frame at or before a time; 0 if all are later.
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

    /// Marks the frames that are wanted, and no others.
    func mark(_ frames: [Int]) {
        for frame in entries.elements.indices { entries.elements[frame].isMarked = false }
        for frame in frames { entries.elements[frame].isMarked = true }
    }

    /// Says that the frame of this time is not decoded.
    func leaveOut(_ time: Int64) {
        let frame = frame(at: time)
        if entries[frame].time == time { entries[frame].isLeftOut = true }
    }

    /// Says that all frames are decoded.
    func leaveOutNone() { for frame in 0..<entries.count { entries[frame].isLeftOut = false } }

    /// Frames of a range that are decoded. Packets that share a time are one: VP8 has some without a picture.
    func decoded(_ frames: ClosedRange<Int>) -> Int {
        var (count, last) = (0, Int64?.none)
        for entry in entries.elements[frames] where !entry.isLeftOut && entry.time != last {
            (count, last) = (count + 1, entry.time)
        }
        return count
    }

    func isMarked(_ time: Int64) -> Bool {
        let frame = frame(at: time)
        return entries.elements[frame].time != time || entries.elements[frame].isMarked
    }
}
