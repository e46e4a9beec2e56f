import CFFmpeg
import LyraBase

/// One track of a file, decoded frame by frame.
final class TrackDecoder {
    let file: MediaFile
    let track: Int
    let codec: CodecContext
    private let packet: Packet
    /// If not nil, the decoder runs on a thread of its own, which is abandoned when this returns true.
    private let interrupted: (() -> Bool)?
    /// Whether an abandoned thread still uses the decoder.
    private var isAbandoned = false
    /// Whether `packet` holds a packet that the decoder did not accept yet.
    private var isHeld = false
    private var isDraining = false
    /// The last error of the decoder, for the message if nothing at all can be decoded.
    private(set) var lastFailure: Int32 = 0

    /// - Parameter interrupted: For decoders whose calls take long: they run on a thread of their own, which is
    ///   abandoned when this returns true. Nil decodes on the calling thread.
    init(file: MediaFile, track: Int, codec: CodecContext, interrupted: (() -> Bool)? = nil) throws {
        self.interrupted = interrupted
        self.file = file
        self.track = track
        self.codec = codec
        packet = try Packet()
    }

    /// Decodes the next frame; damaged packets are skipped.
    ///
    /// - Parameters:
    ///   - owner: The object that frees `frame`. An abandoned thread keeps it alive.
    ///   - prepare: Called with each packet before it is decoded; false skips the packet.
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
            // A decoder that fails after draining has no more frames.
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
        guard !isAbandoned else { throw LyraError(.state, "\(file.name): interrupted") }
        guard let interrupted else { return work(codec) }
        isAbandoned = true
        let result = try BackgroundWork.run(name: file.name, interrupted: interrupted) { [codec] _ in work(codec) }
        isAbandoned = false
        return result
    }

    /// Drops the decoder's state, after `MediaFile.seek`.
    func flush() {
        isHeld = false
        isDraining = false
        codec.flush()
    }
}
