import LyraBase
import LyraFormats
import LyraTensor

/// A tensor to write. Its numbers are computed when they are written, so that the tensors of a file are not in memory
/// together.
package struct NewTensor {
    package let name: String
    package let shape: [Int]
    /// The numbers, in the tensor's shape.
    package let values: () throws -> Tensor

    package init(_ name: String, _ shape: [Int], values: @escaping () throws -> Tensor) {
        (self.name, self.shape, self.values) = (name, shape, values)
    }

    package init(_ name: String, _ tensor: Tensor) {
        self.init(name, tensor.shape) { tensor }
    }

    /// The numbers of a file's tensor.
    package init(_ name: String, _ stored: StoredTensor) {
        self.init(name, stored.shape) { try stored.values() }
    }

    /// Types in which trained tensors can be written.
    package static let types: [ElementType] = [.float32, .bfloat16, .float16]

    /// - Throws: `LyraError.argument` for another type.
    static func checkType(_ type: ElementType) throws {
        guard types.contains(type) else {
            throw LyraError(.argument, "\(type.rawValue): tensors are written as F32, BF16 or F16")
        }
    }

    func spec(_ type: ElementType) -> TensorSpec { TensorSpec(name: name, type: type, shape: shape) }

    private func checkedValues() throws -> Tensor {
        let tensor = try values().detached
        guard tensor.shape == shape else {
            throw LyraError(.argument, "tensor \(shown(name)) of shape \(shape) has values of shape \(tensor.shape)")
        }
        return tensor
    }

    /// Floats that are converted at once.
    private static let pieceElements = 4 << 20

    /// Writes the tensor, a few megabytes at a time.
    func write(as type: ElementType, to writer: SafetensorsWriter) throws {
        let tensor = try checkedValues()
        guard tensor.count > 0 else { return try writer.append(name, UnsafeRawBufferPointer(start: nil, count: 0)) }
        let rows = max(1, min(tensor.rows, Self.pieceElements / max(tensor.columns, 1)))
        let scratch = try FloatStorage(count: rows * tensor.columns)
        for start in stride(from: 0, to: tensor.rows, by: rows) {
            let piece = tensor.rows(start..<min(start + rows, tensor.rows))
            try piece.store(as: type, to: UnsafeMutableRawPointer(scratch.base))
            try writer.append(name, UnsafeRawBufferPointer(start: scratch.base, count: piece.count * type.size))
        }
    }

    /// Writes the tensor whole, because a torch.save file has a checksum before each tensor.
    ///
    /// - Parameter key: its name in the file
    func write(as type: ElementType, to writer: TorchWriter, key: String? = nil) throws {
        let tensor = try checkedValues()
        let storage = try FloatStorage(count: tensor.count)
        try tensor.store(as: type, to: UnsafeMutableRawPointer(storage.base))
        try writer.write(key ?? name, UnsafeRawBufferPointer(start: storage.base, count: tensor.count * type.size))
    }
}

extension StoredTensor {
    /// The type in which changed numbers of this tensor are written: its own where training writes it.
    func typeForNewValues() throws -> ElementType {
        if NewTensor.types.contains(type) { return type }
        if type.isFloat8 { return .bfloat16 }
        guard type == .float64 else {
            throw LyraError(
                .unsupported,
                "\(source): tensor \(shown(name)) is \(shown(typeName)), for which no new numbers can be written; "
                    + "F32, BF16 and F16 are possible")
        }
        return .float32
    }

    /// Bytes that are copied at once.
    private static let pieceBytes = 16 << 20

    /// Copies the tensor as it is, a few megabytes at a time; drops the pages that were read.
    func copy(to writer: SafetensorsWriter, as name: String, check: () throws -> Void) throws {
        if bytes.isEmpty { try writer.append(name, bytes) }
        for start in stride(from: 0, to: bytes.count, by: Self.pieceBytes) {
            try check()
            let piece = UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + Self.pieceBytes, bytes.count)])
            try writer.append(name, piece)
            (owner as? MappedFile)?.dropResidentPages(of: piece)
        }
    }
}
