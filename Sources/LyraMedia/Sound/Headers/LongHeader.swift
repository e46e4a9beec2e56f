/// Makes headers for sample data over 4 GiB, in formats that libsndfile reads at any length.
enum LongHeader {
    enum Coding { case integer, float, aLaw, muLaw }

    /// An AU header, for big-endian samples up to the end of the file; nil for a coding that AU lacks.
    static func au(_ coding: Coding, bits: Int, rate: Int, channels: Int) -> [UInt8]? {
        let number: Int? =
            switch coding {
            case .muLaw: 1
            case .integer: [8: 2, 16: 3, 24: 4, 32: 5][bits]
            case .float: [32: 6, 64: 7][bits]
            case .aLaw: 27
            }
        guard let number else { return nil }
        let fields = [24, 0xffff_ffff, number, rate, channels]
        return Array(".snd".utf8) + fields.flatMap { Array(little($0, 4).reversed()) }
    }

    /// A Wave64 header, for little-endian samples.
    ///
    /// - Parameters:
    ///   - format: The body of a WAV chunk "fmt ".
    ///   - count: Bytes of samples.
    static func wave64(format: [UInt8], count: Int64) -> [UInt8] {
        let padded = (format.count + 7) / 8 * 8
        var chunks = chunk("fmt ", size: Int64(24 + format.count)) + format
        chunks += [UInt8](repeating: 0, count: padded - format.count)
        chunks += chunk("data", size: 24 + count)
        let outer: [UInt8] = [0x2e, 0x91, 0xcf, 0x11, 0xa5, 0xd6, 0x28, 0xdb, 0x04, 0xc1, 0, 0]
        return Array("riff".utf8) + outer + little(Int(40 + count) + chunks.count, 8) + name("wave") + chunks
    }

    /// The body of a WAV chunk "fmt " for integer samples.
    static func format(bits: Int, rate: Int, channels: Int) -> [UInt8] {
        let frame = channels * bits / 8
        return little(1, 2) + little(channels, 2) + little(rate, 4) + little(rate &* frame, 4) + little(frame, 2)
            + little(bits, 2)
    }

    private static func chunk(_ text: String, size: Int64) -> [UInt8] { name(text) + little(Int(size), 8) }

    /// The name of a Wave64 chunk: a 128-bit identifier of four letters and a constant suffix.
    private static func name(_ text: String) -> [UInt8] {
        Array(text.utf8) + [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a]
    }

    private static func little(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
