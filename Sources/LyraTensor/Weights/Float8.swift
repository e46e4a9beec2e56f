/// Floats of 8 bits. Each has one of BF16 that is its equal.
enum Float8 {
    /// The BF16 numbers, as bits, of all 256 codes.
    static func table(_ type: ElementType) -> [UInt16] { type == .float8E5M2 ? e5m2 : e4m3 }

    private static let e4m3 = (0..<256).map { code in
        // The format's one NaN takes the place of the largest number; there are no infinities.
        code & 0x7F == 0x7F ? bits(.nan, code) : bits(magnitude(code, mantissaBits: 3, bias: 7), code)
    }

    private static let e5m2 = (0..<256).map { code in
        let (exponent, mantissa) = (code >> 2 & 0x1F, code & 3)
        guard exponent == 0x1F else { return bits(magnitude(code, mantissaBits: 2, bias: 15), code) }
        return bits(mantissa == 0 ? .infinity : .nan, code)
    }

    private static func magnitude(_ code: Int, mantissaBits: Int, bias: Int) -> Float {
        let exponent = (code & 0x7F) >> mantissaBits, mantissa = code & (1 << mantissaBits - 1)
        let significand = exponent == 0 ? mantissa : mantissa + 1 << mantissaBits
        return Float(sign: .plus, exponent: max(exponent, 1) - bias - mantissaBits, significand: Float(significand))
    }

    /// The BF16 number of this magnitude and of the code's sign.
    private static func bits(_ magnitude: Float, _ code: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: magnitude.bitPattern >> 16) | (code & 0x80 == 0 ? 0 : 0x8000)
    }
}

extension StoredTensor {
    /// The same numbers as BF16, in memory of their own; a tensor that is not of 8-bit floats, as it is.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    func wideningFloat8() throws -> StoredTensor {
        guard type.isFloat8 else { return self }
        let storage = try PackedStorage(byteCount: 2 * bytes.count)
        let codes = Float8.table(type)
        for index in bytes.indices {
            storage.base.storeBytes(of: codes[Int(bytes[index])], toByteOffset: 2 * index, as: UInt16.self)
        }
        withExtendedLifetime(owner) {}
        return StoredTensor(
            name: name, type: .bfloat16, shape: shape,
            bytes: UnsafeRawBufferPointer(start: storage.base, count: 2 * bytes.count), owner: storage, source: source)
    }

    /// Some of the numbers of a tensor of 8-bit floats.
    func widenFloat8(_ elements: Range<Int>, to floats: UnsafeMutablePointer<Float>) {
        let codes = Float8.table(type)
        for (index, code) in bytes[elements].enumerated() {
            floats[index] = Float(bitPattern: UInt32(codes[Int(code)]) << 16)
        }
        withExtendedLifetime(owner) {}
    }
}
