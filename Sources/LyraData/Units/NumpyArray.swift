import LyraBase
import LyraFormats
import LyraTensor

/// Reads matrices of NumPy's .npy files (numpy.org, "A simple file format for NumPy arrays").
///
/// The file begins with the magic bytes, a version, the length of the header, and the header: the text of a Python
/// dictionary with the keys descr, fortran_order and shape. Then come the numbers.
enum NumpyArray {
    static let magic: [UInt8] = [0x93] + Array("NUMPY".utf8)

    private static let headerLimit = 1 << 16
    private static let types: [String: ElementType] = [
        "<f2": .float16, "<f4": .float32, "<f8": .float64, "=f4": .float32,
    ]

    /// A matrix [rows, columns] as floats.
    ///
    /// - Throws: `LyraError` that names the file if it is not a matrix of floating-point numbers in C's order, or is
    ///   damaged.
    static func matrix(path: String) throws -> Tensor {
        let file = try MappedFile(path: path)
        var cursor = ByteCursor(file.bytes, at: 0, source: path, section: "the .npy header")
        guard file.bytes.starts(with: magic) else { throw LyraError(.format, "\(path): not a .npy file") }
        _ = try cursor.take(magic.count)
        let version: UInt8 = try cursor.integer()
        _ = try cursor.take(1)
        guard (1...3).contains(version) else {
            throw LyraError(.unsupported, "\(path): version \(version) of the .npy format, which lyra does not read")
        }
        let length = version == 1 ? Int(try cursor.integer(UInt16.self)) : Int(try cursor.integer(UInt32.self))
        guard length <= headerLimit else { throw LyraError(.format, "\(path): a header of \(length) bytes") }
        let header = try Header(cursor.text(length), path)
        guard let type = types[header.type] else {
            throw LyraError(
                .unsupported, "\(path): numbers of type \(shown(header.type)); convert them with .astype('<f4')")
        }
        guard !header.isColumnMajor, header.shape.count == 2 else {
            throw LyraError(
                .unsupported,
                "\(path): an array of shape \(header.shape.prefix(16))\(header.isColumnMajor ? " in Fortran's order" : "")"
                    + "; a matrix in C's order is needed")
        }
        let count = (try? FloatStorage.count(of: header.shape)) ?? 0
        guard let bytes = count.checkedMultiplying(by: type.size), bytes == cursor.remaining, count > 0 else {
            throw LyraError(
                .format,
                "\(path): a matrix \(header.shape) of \(shown(header.type)) does not fit the \(cursor.remaining) bytes "
                    + "after the header; the file is damaged or empty")
        }
        let stored = StoredTensor(
            name: "matrix", type: type, shape: header.shape, bytes: try cursor.take(bytes), owner: file, source: path)
        return try stored.values()
    }

    private struct Header {
        var type = ""
        var isColumnMajor = false
        var shape: [Int] = []

        /// Reads `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`.
        init(_ text: String, _ path: String) throws {
            func damaged() -> LyraError {
                LyraError(.format, "\(path): the .npy header is not that of an array: \(shown(text))")
            }
            func after(_ key: String) throws -> Substring {
                for mark in ["'\(key)'", "\"\(key)\""] {
                    if let range = text.firstRange(of: mark) {
                        let rest = text[range.upperBound...].drop { $0 == " " }
                        if rest.first == ":" { return rest.dropFirst().drop { $0 == " " } }
                    }
                }
                throw damaged()
            }
            let descr = try after("descr")
            guard let quote = descr.first, quote == "'" || quote == "\"" else { throw damaged() }
            type = String(descr.dropFirst().prefix { $0 != quote })
            let order = try after("fortran_order")
            guard order.hasPrefix("True") || order.hasPrefix("False") else { throw damaged() }
            isColumnMajor = order.hasPrefix("True")
            let list = try after("shape")
            guard list.first == "(", let end = list.firstIndex(of: ")") else { throw damaged() }
            for part in list[list.index(after: list.startIndex)..<end].split(separator: ",") {
                let digits = trimmed(part)
                guard let length = Int(digits), length >= 0 else {
                    if digits.isEmpty { continue }
                    throw damaged()
                }
                shape.append(length)
            }
        }
    }
}
