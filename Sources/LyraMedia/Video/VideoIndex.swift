import CFFmpeg

/// When the frames of a video are shown, and where decoding may begin.
struct VideoIndex {
    /// Frames between here and a key frame from which on it is quicker to go there than to decode them.
    static let worthSeeking = 12

    private struct Entry {
        var time: Int64
        var isKey: Bool
        var isMarked = false
    }

    private var entries: [Entry] = []
    private var lastDuration: Int64 = 0
    /// Whether every frame has a time of its own. If not, frames are counted as they come, from the first.
    private(set) var hasTimes = true

    var count: Int { entries.count }

    mutating func add(_ packet: AVPacket) {
        if packet.flags & AV_PKT_FLAG_DISCARD != 0 || packet.size == 0 { return }
        if packet.pts == lyra_av_no_time() { hasTimes = false }
        if entries.isEmpty || packet.pts > entries[entries.count - 1].time { lastDuration = max(packet.duration, 0) }
        entries.append(Entry(time: packet.pts, isKey: packet.flags & AV_PKT_FLAG_KEY != 0))
    }

    /// Puts the frames in the order in which they are shown.
    mutating func finish() {
        if hasTimes { entries.sort { $0.time < $1.time } }
    }

    /// Ticks from the first frame to the end of the last, or nil if frames have no times.
    var span: Int64? {
        guard hasTimes, let first = entries.first, let last = entries.last else { return nil }
        let (length, overflow) = last.time.subtractingReportingOverflow(first.time)
        guard !overflow else { return nil }
        let mean = entries.count > 1 ? length / Int64(entries.count - 1) : 0
        let (span, tooLong) = length.addingReportingOverflow(lastDuration > 0 ? lastDuration : mean)
        return tooLong || span <= 0 ? nil : span
    }

    func time(of frame: Int) -> Int64 { entries[frame].time }

    /// The last frame at or before a time; 0 if all are later.
    func frame(at time: Int64) -> Int {
        var (low, high) = (0, entries.count)
        while low < high {
            let middle = (low + high) / 2
            if entries[middle].time <= time { low = middle + 1 } else { high = middle }
        }
        return max(low - 1, 0)
    }

    /// The last key frame at or before a frame; 0 if there is none.
    func keyFrame(atOrBefore frame: Int) -> Int {
        var frame = frame
        while frame > 0, !entries[frame].isKey { frame -= 1 }
        return frame
    }

    /// Marks the frames that are wanted, and no others.
    mutating func mark(_ frames: [Int]) {
        for frame in entries.indices { entries[frame].isMarked = false }
        for frame in frames { entries[frame].isMarked = true }
    }

    func isMarked(_ time: Int64) -> Bool {
        let frame = frame(at: time)
        return entries[frame].time != time || entries[frame].isMarked
    }
}
