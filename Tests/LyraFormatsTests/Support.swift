import Foundation
import LyraBase
import LyraTensor
import Testing

@testable import LyraFormats

/// A folder that is removed with the object.
final class Folder {
    let path = NSTemporaryDirectory() + "/lyra-formats-\(UUID().uuidString)"

    init() throws { try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: true) }
    deinit { try? FileManager.default.removeItem(atPath: path) }

    var names: [String] { (try? FileManager.default.contentsOfDirectory(atPath: path).sorted()) ?? [] }

    @discardableResult
    func write(_ name: String, _ bytes: some Sequence<UInt8>) throws -> String {
        let file = path + "/" + name
        try Data(bytes).write(to: URL(fileURLWithPath: file))
        return file
    }
}

func fixture(_ name: String) -> String {
    URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/Fixtures/formats/"
        + name
}

/// The error that `body` throws; records an issue when it throws none, or one of another type.
func lyraError(_ body: () throws -> Void) -> LyraError {
    do {
        try body()
        Issue.record("no error was thrown")
    } catch let error as LyraError {
        return error
    } catch {
        Issue.record("not a LyraError: \(error)")
    }
    return LyraError(.closed, "")
}

/// Checks that `body` throws a LyraError of this kind whose message contains all of `parts`.
func expect(
    _ code: LyraError.Code, _ parts: String..., at location: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    let error = lyraError(body)
    #expect(error.code == code, "\(error.message)", sourceLocation: location)
    for part in parts { #expect(error.message.contains(part), sourceLocation: location) }
}

extension StoredTensor {
    var data: [UInt8] { Array(bytes) }
    var floats: [Float] {
        stride(from: 0, to: bytes.count, by: 4).map { bytes.loadUnaligned(fromByteOffset: $0, as: Float.self) }
    }
}

func bytes(_ values: [Float]) -> [UInt8] { values.withUnsafeBytes { Array($0) } }

/// SplitMix64: the seed determines the numbers.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64
    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}

/// Reads `original` truncated at 64 places, and 200 times with 1 to 4 flipped bits. Each must succeed or throw a
/// LyraError.
///
/// - Parameter read: Opens the file at this path and returns its tensors, whose bytes are all read then.
func damage(_ original: [UInt8], read: (String) throws -> [StoredTensor]) throws {
    let folder = try Folder()
    var random = SeededGenerator(state: 7)
    var variants = (0..<64).map { Array(original.prefix(original.count * $0 / 64)) }
    for _ in 0..<200 {
        var flipped = original
        for _ in 0..<Int.random(in: 1...4, using: &random) {
            flipped[Int.random(in: flipped.indices, using: &random)] ^= 1 << UInt8.random(in: 0..<8, using: &random)
        }
        variants.append(flipped)
    }
    var refused = 0
    for (index, variant) in variants.enumerated() {
        let path = try folder.write("damaged", variant)
        do {
            for tensor in try read(path) {
                _ = tensor.bytes.reduce(0) { $0 &+ Int($1) }
                if tensor.type == .other { continue }
                #expect(tensor.type.byteCount(of: tensor.shape) == tensor.bytes.count)
            }
        } catch let error as LyraError {
            refused += 1
            #expect(error.message.contains(folder.path), "variant \(index): \(error.message)")
        } catch {
            Issue.record("variant \(index): \(error)")
        }
        try FileManager.default.removeItem(atPath: path)
    }
    #expect(refused >= 60, "nearly every truncated file must be refused")
}
