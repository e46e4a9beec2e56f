import Foundation
import LyraFormats
import LyraTensor

/// One of the two small random checkpoints in Tests/Fixtures, with numbers for its stages and turns that an independent
/// implementation in float32 computed.
package protocol GoldenFixture {
    /// "a" or "b".
    var name: String { get }
}

extension GoldenFixture {
    /// The directory of a fixture.
    package static func path(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/Fixtures/" + name
    }

    /// The tensors of a golden case.
    package func file(_ name: String) throws -> Safetensors {
        try Safetensors(path: "\(Self.path(self.name))/cases/\(name).safetensors")
    }

    package func stored(_ name: String, _ tensor: String) throws -> StoredTensor {
        guard let stored = try file(name).tensors[tensor] else { throw FixtureError("case \(name) has no \(tensor)") }
        return stored
    }

    package func floats(_ name: String, _ tensor: String) throws -> [Float] { try stored(name, tensor).floats() }

    package func integers(_ name: String, _ tensor: String) throws -> [Int32] {
        try stored(name, tensor).integers().map { Int32($0) }
    }

    /// Seven seconds of sound at 16 kHz.
    package var shortRecording: [Float] { get throws { try floats("speech_short", "in.pcm") } }

    /// 71 seconds: three windows.
    package var longRecording: [Float] {
        get throws {
            let short = try shortRecording
            let count = 71 * 16000
            let step = (1.0 - 0.2) / Double(count - 1)
            return (0..<count).map { short[$0 % short.count] * Float($0 == count - 1 ? 1.0 : Double($0) * step + 0.2) }
        }
    }
}

/// A fixture that is not what its tests expect.
package struct FixtureError: Error, CustomStringConvertible {
    package let description: String
    package init(_ description: String) { self.description = description }
}
