import CFFmpeg

/// Times of a track's packets, in the order in which they are decoded, without the steps back where their counter of a
/// few bits (33 in MPEG's streams) began anew.
struct TimeCounter {
    /// Of the bits that are unwrapped: more are never used up.
    private static let mostBits = 40
    /// Times beyond this are damage.
    private static let largest: Int64 = 1 << 50

    /// Ticks after which the counter begins anew; 0 if it never does.
    private let period: Int64
    private var offset: Int64 = 0
    private var last: Int64?
    /// Whether a time was given that is not the packet's.
    private(set) var hasWrapped = false

    init(bits: Int) { period = (1...Self.mostBits).contains(bits) ? 1 << Int64(bits) : 0 }

    /// When the next packet's frame is shown, and when it is decoded. A packet without a time of decoding is taken to
    /// be decoded when it is shown.
    mutating func times(of packet: AVPacket) -> (shown: Int64, decoded: Int64) {
        let stated = packet.dts == lyra_av_no_time() ? packet.pts : packet.dts
        let range = -Self.largest...Self.largest
        guard period > 0, range.contains(stated), range.contains(packet.pts) else { return (packet.pts, stated) }
        offset &+= step(from: last ?? stated, to: stated &+ offset)
        let decoded = stated &+ offset
        last = decoded
        // Its frame may be shown after the counter began anew.
        let shown = packet.pts &+ offset
        let time = (shown: shown &+ step(from: decoded, to: shown), decoded: decoded)
        hasWrapped = hasWrapped || time.shown != packet.pts
        return time
    }

    /// What is added to `time` to be within half a period of `reference`, if one period is enough.
    private func step(from reference: Int64, to time: Int64) -> Int64 {
        let (difference, overflow) = time.subtractingReportingOverflow(reference)
        guard !overflow else { return 0 }
        return difference < -period / 2 ? period : difference > period / 2 ? -period : 0
    }
}
