import LyraBase
import CFFmpeg

/// Which packets of H.264 hold only pictures that no other picture refers to (ITU-T H.264, 7.3.1 and 7.4.1).
struct H264Packets {
    /// Bytes of the length in front of each unit; 0 where start codes stand in place of lengths.
    private let lengthBytes: Int

    /// - Parameter parameters: of the track; nil if it is not H.264
    init?(_ parameters: AVCodecParameters) {
        guard parameters.codec_id == AV_CODEC_ID_H264 else { return nil }
        let extra = UnsafeRawBufferPointer(start: parameters.extradata, count: Int(max(parameters.extradata_size, 0)))
        // ISO/IEC 14496-15, 5.3.3.1.
        lengthBytes = extra.count > 4 && extra[0] == 1 ? Int(extra[4] & 3) + 1 : 0
    }

    /// Whether the pictures that follow can be decoded without this packet. False where that is not certain.
    func isUnreferenced(_ packet: AVPacket) -> Bool {
        let scan = ByteScan(UnsafeRawBufferPointer(start: packet.data, count: Int(max(packet.size, 0))))
        var hasPicture = false
        // A unit that is no picture may be a new set of parameters.
        func mayGo(_ header: Int) -> Bool {
            let (type, reference) = (header & 31, header >> 5 & 3)
            if 1...4 ~= type { hasPicture = true }
            return 1...4 ~= type && reference == 0 || [6, 9, 12].contains(type)
        }
        var offset = 0
        while offset < scan.bytes.count {
            if lengthBytes > 0 {
                guard let length = scan.integer(offset, lengthBytes, big: true), length > 0,
                    length <= scan.bytes.count - offset - lengthBytes, mayGo(Int(scan.bytes[offset + lengthBytes]))
                else { return false }
                offset += lengthBytes + length
            } else {
                guard let header = scan.integer(offset, 4, big: true) else { break }
                if header >> 8 == 1 {
                    guard mayGo(header & 0xff) else { return false }
                    offset += 4
                } else {
                    offset += 1
                }
            }
        }
        return hasPicture
    }
}
