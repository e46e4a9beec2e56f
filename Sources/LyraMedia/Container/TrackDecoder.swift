import CFFmpeg
import LyraBase

/// One track of a file, decoded frame by frame.
final class TrackDecoder {
    let file: MediaFile
    let track: Int
    let codec: CodecContext
    private let packet: Packet
    /// Where calls of the decoder run on a thread of their own: whether to leave it.
    private let interrupted: (() -> Bool)?
    /// Whether a thread was left behind that still uses the decoder.
    private var isLeft = false
    /// Whether `packet` holds one that the decoder had no room for.
    private var isHeld = false
    private var isDraining = false
    /// The last error of the decoder, for the message if nothing at all can be decoded.
    private(set) var lastFailure: Int32 = 0

    /// - Parameter interrupted: Given where a call of the decoder takes long: it then runs in the background, and is
    ///   left when this says so. Nil decodes on the calling thread.
    init(file: MediaFile, track: Int, codec: CodecContext, interrupted: (() -> Bool)? = nil) throws {
        self.interrupted = interrupted
        self.file = file
        self.track = track
        self.codec = codec
        packet = try Packet()
    }

    /// Decodes the next frame; damaged packets are passed over.
    /// - Parameters:
    ///   - owner: What frees the frame; a decoder that is left behind keeps it.
    ///   - prepare: Called with each packet before it is decoded; false passes it over.
    /// - Returns: false at the end.
    /// - Throws: `LyraError(.io)` if the reader fails, `.state` if interrupted, `.memory` if a packet is too large.
    func next(
        into frame: UnsafeMutablePointer<AVFrame>, owner: AnyObject? = nil,
        prepare: (UnsafeMutablePointer<AVPacket>) -> Bool = { _ in true }
    ) throws -> Bool {
        while true {
            try file.check()
            switch try call({ codec in withExtendedLifetime(owner) { codec.receive(into: frame) } }) {
            case .frame: return true
            case .end: return false
            case .needsPacket: break
            case .noMemory: throw LyraError(.memory, "\(file.name): no memory to decode a frame")
            }
            // A decoder that failed once it was drained gives no more.
            guard !isDraining else { return false }
            if !isHeld, try !file.read(track: track, into: packet.pointer) {
                isDraining = true
                _ = try call { $0.send(nil) }
                continue
            }
            if !isHeld, !prepare(packet.pointer) { continue }
            let status = try call { [packet] in $0.send(packet.pointer) }
            if status == lyra_av_no_memory() { throw LyraError(.memory, "\(file.name): no memory to decode a packet") }
            isHeld = status == lyra_av_again() && !isHeld
            if status < 0, !isHeld { lastFailure = status }
        }
    }

    private func call<Result>(_ work: @escaping (CodecContext) -> Result) throws -> Result {
        guard !isLeft else { throw LyraError(.state, "\(file.name): interrupted") }
        guard let interrupted else { return work(codec) }
        isLeft = true
        let result = try BackgroundWork.run(name: file.name, interrupted: interrupted) { [codec] _ in work(codec) }
        isLeft = false
        return result
    }

    /// Goes on elsewhere: after `MediaFile.seek`.
    func flush() {
        isHeld = false
        isDraining = false
        codec.flush()
    }
}
