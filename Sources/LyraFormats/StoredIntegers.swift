import LyraBase
import LyraTensor

extension StoredTensor {
    /// All elements of a tensor of 64-bit integers.
    ///
    /// - Throws: `LyraError.format` naming file and tensor for another type.
    package func integers() throws -> [Int] {
        guard type == .int64 else {
            throw LyraError(.format, "\(source): tensor \(shown(name)) is \(shown(typeName)); expected I64")
        }
        return (0..<count).map { Int(bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self)) }
    }
}
