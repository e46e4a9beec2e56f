import CFFmpeg
import LyraTensor

/// One track of a file, decoded frame by frame.
final class TrackDecoder {
    let file: MediaFile
    let track: Int
    let codec: CodecContext
    private let packet: Packet
    /// Whether `packet` holds one that the decoder had no room for.
    private var isHeld = false
    private var isDraining = false
    /// The last error of the decoder, for the message if nothing at all can be decoded.
    private(set) var lastFailure: Int32 = 0

    init(file: MediaFile, track: Int, codec: CodecContext) throws {
        self.file = file
        self.track = track
        self.codec = codec
        packet = try Packet()
    }

    /// Decodes the next frame; damaged packets are passed over.
    /// - Parameter prepare: Called with each packet before it is decoded.
    /// - Returns: false at the end.
    /// - Throws: `LyraError(.io)` if the reader fails, `.state` if interrupted, `.memory` if a packet is too large.
    func next(
        into frame: UnsafeMutablePointer<AVFrame>, prepare: (UnsafeMutablePointer<AVPacket>) -> Void = { _ in }
    ) throws -> Bool {
        while true {
            try file.check()
            switch codec.receive(into: frame) {
            case .frame: return true
            case .end: return false
            case .needsPacket: break
            case .noMemory: throw LyraError(.memory, "\(file.name): no memory to decode a frame")
            }
            // A decoder that failed once it was drained gives no more.
            guard !isDraining else { return false }
            if !isHeld, try !file.read(track: track, into: packet.pointer) {
                isDraining = true
                _ = codec.send(nil)
                continue
            }
            if !isHeld { prepare(packet.pointer) }
            let status = codec.send(packet.pointer)
            if status == lyra_av_no_memory() { throw LyraError(.memory, "\(file.name): no memory to decode a packet") }
            isHeld = status == lyra_av_again() && !isHeld
            if status < 0, !isHeld { lastFailure = status }
        }
    }

    /// Goes on elsewhere: after `MediaFile.seek`.
    func flush() {
        isHeld = false
        isDraining = false
        codec.flush()
    }
}
