/// 8-bit floats. Every value has an exact BF16 equivalent.
enum Float8 {
    /// BF16 bit patterns of all 256 codes.
    static func table(_ type: ElementType) -> [UInt16] { type == .float8E5M2 ? e5m2 : e4m3 }

    private static let e4m3 = (0..<256).map { code in
        // E4M3 has no infinities, and its one NaN has the code above the largest number.
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

    /// The BF16 value with this magnitude and the code's sign.
    private static func bits(_ magnitude: Float, _ code: Int) -> UInt16 {
        UInt16(truncatingIfNeeded: magnitude.bitPattern >> 16) | (code & 0x80 == 0 ? 0 : 0x8000)
    }
}

extension StoredTensor {
    /// The tensor converted from 8-bit floats to BF16, in new memory; a tensor of another type is returned unchanged.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    func convertingFloat8() throws -> StoredTensor {
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

    /// Converts some 8-bit floats to F32.
    func convertFloat8(_ elements: Range<Int>, to floats: UnsafeMutablePointer<Float>) {
        let codes = Float8.table(type)
        for (index, code) in bytes[elements].enumerated() {
            floats[index] = Float(bitPattern: UInt32(codes[Int(code)]) << 16)
        }
        withExtendedLifetime(owner) {}
    }
}
