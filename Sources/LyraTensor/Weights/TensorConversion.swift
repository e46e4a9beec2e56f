import CKernels
import LyraBase

extension StoredTensor {
    /// Converts some elements to another type: F32, F16 or BF16, rounded to nearest even, or quantization blocks.
    ///
    /// - Parameters:
    ///   - elements: whole quantization blocks of both types, within the tensor
    ///   - destination: room for the elements in `type`
    ///   - scratch: room for as many floats
    /// - Throws: `LyraError.unsupported` if the tensor's type is not floating-point; `LyraError.argument` if `type` is
    ///   not, or if `elements` lie outside the tensor or are not whole quantization blocks.
    package func store(
        _ elements: Range<Int>, as type: ElementType, to destination: UnsafeMutableRawPointer, scratch: FloatStorage
    ) throws {
        guard let wanted = type.kernelType, elements.lowerBound >= 0, elements.upperBound <= count,
            elements.count <= scratch.count,
            [type.blockElements, self.type.blockElements].allSatisfy({
                elements.lowerBound % $0 == 0 && elements.count % $0 == 0
            })
        else {
            throw LyraError(
                .argument, "\(source): elements \(elements) of \(shown(name)) cannot be stored as \(type.rawValue)")
        }
        try checkFloatingPoint()
        dequantize(elements, to: scratch.base)
        lk_quantize(destination, wanted, scratch.base, elements.count)
        withExtendedLifetime(owner) {}
    }

    /// The bytes of these elements, which must be whole quantization blocks.
    package func bytes(of elements: Range<Int>) -> UnsafeRawBufferPointer {
        let first = elements.lowerBound / type.blockElements * type.size
        return UnsafeRawBufferPointer(
            rebasing: bytes[first..<first + elements.count / type.blockElements * type.size])
    }

    /// All elements as floats, in a tensor of the same shape.
    ///
    /// - Throws: `LyraError.unsupported` if the tensor's type is not floating-point, `.memory` if there is no room.
    public func values() throws -> Tensor {
        try checkFloatingPoint()
        return try Tensor(shape) { dequantize(0..<count, to: $0) }
    }

    /// All elements as floats, in an array: for small tensors, because an array that finds no memory ends the process.
    ///
    /// - Throws: `LyraError.unsupported` if the tensor's type is not floating-point.
    public func floats() throws -> [Float] {
        try checkFloatingPoint()
        return [Float](unsafeUninitializedCapacity: count) { buffer, written in
            if let destination = buffer.baseAddress { dequantize(0..<count, to: destination) }
            written = count
        }
    }

    /// - Throws: `LyraError.unsupported` unless the elements can become floats.
    private func checkFloatingPoint() throws {
        guard type == .float64 || type.isFloat8 || type.kernelType != nil else {
            throw LyraError(
                .unsupported,
                "\(source): tensor \(shown(name)) is \(shown(typeName)); expected a floating-point type")
        }
    }

    /// The type must be one that `checkFloatingPoint` accepts.
    private func dequantize(_ elements: Range<Int>, to floats: UnsafeMutablePointer<Float>) {
        let bytes = bytes(of: elements)
        if type == .float64 {
            for index in 0..<elements.count {
                floats[index] = Float(bytes.loadUnaligned(fromByteOffset: index * 8, as: Double.self))
            }
        } else if type.isFloat8 {
            convertFloat8(elements, to: floats)
        } else if let kernel = type.kernelType, let base = bytes.baseAddress {
            lk_dequantize(floats, base, kernel, elements.count)
        }
        withExtendedLifetime(owner) {}
    }
}
