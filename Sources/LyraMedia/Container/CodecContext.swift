import CFFmpeg
import Glibc
import LyraBase

/// A decoder of libavcodec: packets in, frames out.
final class CodecContext {
    /// The result of `receive`.
    enum Result { case frame, needsPacket, end, noMemory }

    /// Errors in a row, after the last packet was sent, at which lyra takes a decoder to be at its end.
    private static let maxFailures = 256

    /// libavcodec also counts the padding of rows: at most this many pixels in a frame of 65,535 rows.
    private static let paddingPixels: Int64 = 1 << 24

    /// libavcodec's `max_pixels` that allows frames of `pixels` pixels. Any number is valid.
    static func maxPixels(allowing pixels: Int) -> Int64 {
        Int64(min(max(pixels, 0), Int(Int64.max - paddingPixels))) + paddingPixels
    }

    private(set) var context: UnsafeMutablePointer<AVCodecContext>?
    private var isDraining = false
    private var failures = 0
    /// Frames for which the decoder got no memory; the decoder's threads count them.
    private let refusals: UnsafeMutablePointer<Int32>

    /// - Parameters:
    ///   - parameters: The track's parameters from the container, or nil for a codec that needs no parameters.
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

    /// Whether a frame got no memory. Most decoders report that; some skip the frame as if it were damaged.
    private var isRefused: Bool { lyra_av_refusals(refusals) > 0 }

    /// Sends a packet to the decoder; nil after the last.
    ///
    /// - Returns: libavcodec's status: negative if the packet is damaged.
    func send(_ packet: UnsafeMutablePointer<AVPacket>?) -> Int32 {
        if packet == nil { isDraining = true }
        let status = MediaLog.quiet { avcodec_send_packet(context, packet) }
        return isRefused ? lyra_av_no_memory() : status
    }

    /// Receives the next frame. Damaged packets are skipped.
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
            if status == lyra_av_end() || isDraining && failures > Self.maxFailures { return .end }
            if !isDraining { return .needsPacket }
        }
    }

    /// Drops all packets, before decoding goes on at another position of the file.
    func flush() {
        isDraining = false
        failures = 0
        MediaLog.quiet { avcodec_flush_buffers(context) }
        lyra_av_forget_refusals(refusals)
    }
}

/// Owns an `AVPacket`.
final class Packet {
    let pointer: UnsafeMutablePointer<AVPacket>

    /// - Throws: `LyraError(.memory)`.
    init() throws {
        guard let pointer = av_packet_alloc() else { throw LyraError(.memory, "no memory for a packet") }
        self.pointer = pointer
    }

    /// A packet with a copy of `bytes`, padded as libavcodec requires.
    ///
    /// - Throws: `LyraError(.memory)`, naming `name`.
    convenience init(copying bytes: UnsafeRawBufferPointer, name: String) throws {
        try self.init()
        guard let count = Int32(exactly: bytes.count), let source = bytes.baseAddress,
            av_new_packet(pointer, count) >= 0
        else { throw LyraError(.memory, "\(name): no memory for the encoded image") }
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

/// Owns an `AVFrame`.
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
