import CFFmpeg
import Glibc
import LyraBase

/// A decoder of libavcodec: packets in, frames out.
final class CodecContext {
    /// What came of asking for a frame.
    enum Result { case frame, needsPacket, end, noMemory }

    /// Damaged packets in a row after the last one, before a decoder that only reports errors is taken to be at its
    /// end.
    private static let mostFailures = 256

    /// libavcodec counts the pixels that it adds to rows, too: at most this many for pictures of 65,535 rows.
    private static let paddingPixels: Int64 = 1 << 24

    /// `max_pixels` for pictures of so many; any number will do.
    static func mostPixels(_ pixels: Int) -> Int64 {
        Int64(min(max(pixels, 0), Int(Int64.max - paddingPixels))) + paddingPixels
    }

    private(set) var context: UnsafeMutablePointer<AVCodecContext>?
    private var isDraining = false
    private var failures = 0
    /// Frames for which the decoder found no memory, as its threads count them.
    private let refusals: UnsafeMutablePointer<Int32>

    /// - Parameters:
    ///   - parameters: What the container says about the track, or nil for a codec that needs no telling.
    ///   - configure: Sets options before the decoder is opened.
    /// - Throws: `LyraError(.unsupported)` if there is no such decoder, `.format` if it refuses the track, `.memory`.
    init(
        _ codec: AVCodecID, parameters: UnsafePointer<AVCodecParameters>? = nil, name: String,
        configure: (inout AVCodecContext) -> Void = { _ in }
    ) throws {
        try MediaLibrary.ffmpeg.require(for: name)
        guard let decoder = avcodec_find_decoder(codec) else {
            throw LyraError(
                .unsupported,
                "\(name): the installed FFmpeg libraries cannot decode \(String(cString: avcodec_get_name(codec)))")
        }
        guard let counter = malloc(MemoryLayout<Int32>.size) else {
            throw LyraError(.memory, "\(name): no memory for a decoder")
        }
        refusals = counter.bindMemory(to: Int32.self, capacity: 1)
        refusals.initialize(to: 0)
        context = avcodec_alloc_context3(decoder)
        guard let context else { throw LyraError(.memory, "\(name): no memory for a decoder") }
        context.pointee.log_level_offset = MediaLog.offset
        let status = MediaLog.quiet {
            if let parameters {
                let status = avcodec_parameters_to_context(context, parameters)
                guard status >= 0 else { return status }
            }
            configure(&context.pointee)
            lyra_av_count_refusals(context, refusals)
            return avcodec_open2(context, decoder, nil)
        }
        guard status >= 0 else {
            throw LyraError(
                status == lyra_av_no_memory() ? .memory : .format,
                "\(name): the \(String(cString: decoder.pointee.name)) decoder refuses it: \(MediaLog.reason(status))")
        }
    }

    deinit {
        MediaLog.quiet { avcodec_free_context(&context) }
        free(refusals)
    }

    /// Whether there was no memory for a frame, which most decoders report, and some pass over as if it were damaged.
    private var isRefused: Bool { lyra_av_refusals(refusals) > 0 }

    /// Hands a packet in; nil says that none follows.
    /// - Returns: libavcodec's status: negative if the packet is damaged.
    func send(_ packet: UnsafeMutablePointer<AVPacket>?) -> Int32 {
        if packet == nil { isDraining = true }
        let status = MediaLog.quiet { avcodec_send_packet(context, packet) }
        return isRefused ? lyra_av_no_memory() : status
    }

    /// Asks for the next frame. Damaged packets are passed over.
    func receive(into frame: UnsafeMutablePointer<AVFrame>) -> Result {
        while true {
            let status = MediaLog.quiet { avcodec_receive_frame(context, frame) }
            if isRefused { return .noMemory }
            if status >= 0 {
                failures = 0
                return .frame
            }
            if status == lyra_av_again() { return .needsPacket }
            if status == lyra_av_no_memory() { return .noMemory }
            failures += 1
            if status == lyra_av_end() || isDraining && failures > Self.mostFailures { return .end }
            if !isDraining { return .needsPacket }
        }
    }

    /// Forgets all packets, for another place in the file.
    func flush() {
        isDraining = false
        failures = 0
        MediaLog.quiet { avcodec_flush_buffers(context) }
        lyra_av_forget_refusals(refusals)
    }
}

/// An `AVPacket` that is freed.
final class Packet {
    let pointer: UnsafeMutablePointer<AVPacket>

    /// - Throws: `LyraError(.memory)`.
    init() throws {
        guard let pointer = av_packet_alloc() else { throw LyraError(.memory, "no memory for a packet") }
        self.pointer = pointer
    }

    /// A packet of its own bytes, with the room behind them that libavcodec wants.
    /// - Throws: `LyraError(.memory)`, naming `name`.
    convenience init(copying bytes: UnsafeRawBufferPointer, name: String) throws {
        try self.init()
        guard let count = Int32(exactly: bytes.count), let source = bytes.baseAddress,
            av_new_packet(pointer, count) >= 0
        else { throw LyraError(.memory, "\(name): no memory for the encoded picture") }
        pointer.pointee.data.update(from: source.assumingMemoryBound(to: UInt8.self), count: bytes.count)
    }

    var bytes: UnsafeMutableRawBufferPointer {
        UnsafeMutableRawBufferPointer(start: pointer.pointee.data, count: Int(pointer.pointee.size))
    }

    deinit {
        var pointer: UnsafeMutablePointer<AVPacket>? = pointer
        av_packet_free(&pointer)
    }
}

/// An `AVFrame` that is freed.
final class Frame {
    let pointer: UnsafeMutablePointer<AVFrame>

    /// - Throws: `LyraError(.memory)`.
    init() throws {
        guard let pointer = av_frame_alloc() else { throw LyraError(.memory, "no memory for a frame") }
        self.pointer = pointer
    }

    deinit {
        var pointer: UnsafeMutablePointer<AVFrame>? = pointer
        av_frame_free(&pointer)
    }
}
