import LyraBase
import CFFmpeg

/// Finds the packets of an H.264 track with non-reference pictures only (ITU-T H.264, 7.3.1 and 7.4.1).
struct H264Packets {
    /// Bytes of the length before each NAL unit; 0 if start codes separate the units.
    private let lengthBytes: Int

    /// - Parameter parameters: The parameters of the track. The result is nil if the track is not H.264.
    init?(_ parameters: AVCodecParameters) {
        guard parameters.codec_id == AV_CODEC_ID_H264 else { return nil }
        let extra = UnsafeRawBufferPointer(start: parameters.extradata, count: Int(max(parameters.extradata_size, 0)))
        // ISO/IEC 14496-15, 5.3.3.1.
        lengthBytes = extra.count > 4 && extra[0] == 1 ? Int(extra[4] & 3) + 1 : 0
    }

    /// Whether all other pictures can be decoded without this packet; false if that is uncertain.
    func isUnreferenced(_ packet: AVPacket) -> Bool {
        let scan = ByteScan(UnsafeRawBufferPointer(start: packet.data, count: Int(max(packet.size, 0))))
        var hasPicture = false
        // Slices with nal_ref_idc 0, SEI (6), delimiters (9) and filler data (12). Others may be parameter sets.
        func isDisposable(_ header: Int) -> Bool {
            let (type, reference) = (header & 31, header >> 5 & 3)
            if 1...4 ~= type { hasPicture = true }
            return 1...4 ~= type && reference == 0 || [6, 9, 12].contains(type)
        }
        var offset = 0
        while offset < scan.bytes.count {
            if lengthBytes > 0 {
                guard let length = scan.integer(offset, lengthBytes, big: true), length > 0,
                    length <= scan.bytes.count - offset - lengthBytes,
                    isDisposable(Int(scan.bytes[offset + lengthBytes]))
                else { return false }
                offset += lengthBytes + length
            } else {
                guard let header = scan.integer(offset, 4, big: true) else { break }
                if header >> 8 == 1 {
                    guard isDisposable(header & 0xff) else { return false }
                    offset += 4
                } else {
                    offset += 1
                }
            }
        }
        return hasPicture
    }
}
