/// Headers for samples over 4 GiB, in formats that libsndfile reads at any length.
enum LongHeader {
    enum Coding { case integer, float, aLaw, muLaw }

    /// Of AU: samples are big-endian and go on to the end of the file. nil for what AU has no number for.
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

    /// Of Wave64: samples are little-endian.
    /// - Parameters:
    ///   - format: The body of WAV's part "fmt ".
    ///   - count: Bytes of samples.
    static func wave64(format: [UInt8], count: Int64) -> [UInt8] {
        let padded = (format.count + 7) / 8 * 8
        var parts = part("fmt ", size: Int64(24 + format.count)) + format
        parts += [UInt8](repeating: 0, count: padded - format.count)
        parts += part("data", size: 24 + count)
        let outer: [UInt8] = [0x2e, 0x91, 0xcf, 0x11, 0xa5, 0xd6, 0x28, 0xdb, 0x04, 0xc1, 0, 0]
        return Array("riff".utf8) + outer + little(Int(40 + count) + parts.count, 8) + name("wave") + parts
    }

    /// The body of WAV's part "fmt " for integers.
    static func format(bits: Int, rate: Int, channels: Int) -> [UInt8] {
        let frame = channels * bits / 8
        return little(1, 2) + little(channels, 2) + little(rate, 4) + little(rate &* frame, 4) + little(frame, 2)
            + little(bits, 2)
    }

    private static func part(_ text: String, size: Int64) -> [UInt8] { name(text) + little(Int(size), 8) }

    /// Names are 128-bit identifiers that end alike.
    private static func name(_ text: String) -> [UInt8] {
        Array(text.utf8) + [0xf3, 0xac, 0xd3, 0x11, 0x8c, 0xd1, 0x00, 0xc0, 0x4f, 0x8e, 0xdb, 0x8a]
    }

    private static func little(_ value: Int, _ count: Int) -> [UInt8] {
        (0..<count).map { UInt8(truncatingIfNeeded: value >> (8 * $0)) }
    }
}
