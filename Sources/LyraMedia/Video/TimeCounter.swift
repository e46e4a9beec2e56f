import CFFmpeg
import LyraBase

/// Unwraps the times of a track's packets, which come in decoding order. Containers store times in counters of a few
/// bits (33 in MPEG streams), which wrap around.
struct TimeCounter {
    /// The widest counter that is unwrapped; wider counters never wrap in practice.
    private static let maxBits = 40
    /// Times beyond this are taken for damage.
    private static let largest: Int64 = 1 << 50

    /// Ticks after which the counter wraps; 0 if it never does.
    private let period: Int64
    private var offset: Int64 = 0
    private var last: Int64?
    /// Whether `times` has returned a time that differs from the packet's.
    private(set) var hasWrapped = false

    init(bits: Int) { period = (1...Self.maxBits).contains(bits) ? 1 << Int64(bits) : 0 }

    /// The unwrapped presentation and decoding times of the next packet. Without a decoding time, the presentation time
    /// replaces it.
    mutating func times(of packet: AVPacket) -> (shown: Int64, decoded: Int64) {
        let stated = packet.dts == lyra_av_no_time() ? packet.pts : packet.dts
        let range = -Self.largest...Self.largest
        guard period > 0, range.contains(stated), range.contains(packet.pts) else { return (packet.pts, stated) }
        offset &+= step(from: last ?? stated, to: stated &+ offset)
        let decoded = stated &+ offset
        last = decoded
        // The counter may wrap between decoding and presentation.
        let shown = packet.pts &+ offset
        let time = (shown: shown &+ step(from: decoded, to: shown), decoded: decoded)
        hasWrapped = hasWrapped || time.shown != packet.pts
        return time
    }

    /// The offset, 0 or one period up or down, that brings `time` within half a period of `reference`.
    private func step(from reference: Int64, to time: Int64) -> Int64 {
        guard let difference = time.checkedSubtracting(reference) else { return 0 }
        return difference < -period / 2 ? period : difference > period / 2 ? -period : 0
    }
}
