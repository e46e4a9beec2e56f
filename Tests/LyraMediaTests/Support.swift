import Foundation
import LyraBase

@testable import LyraMedia

/// The bytes of a file of Tests/Fixtures/media.
func fixture(_ name: String) throws -> [UInt8] {
    try [UInt8](Data(contentsOf: URL(filePath: fixturePath(name))))
}

func fixturePath(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/media/\(name)").path
}

/// A fixture of little-endian float32 values.
func floats(_ name: String) throws -> [Float] {
    let bytes = try fixture(name)
    return bytes.withUnsafeBytes { raw in
        (0..<raw.count / 4).map {
            Float(bitPattern: UInt32(littleEndian: raw.loadUnaligned(fromByteOffset: $0 * 4, as: UInt32.self)))
        }
    }
}

/// SplitMix64: pseudo-random numbers that are the same in every run.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }
}

func noise(_ count: Int, seed: UInt64) -> [Float] {
    var generator = SeededGenerator(state: seed)
    return (0..<count).map { _ in Float.random(in: -0.5...0.5, using: &generator) }
}

func largestDifference(_ a: some Sequence<Float>, _ b: some Sequence<Float>) -> Float {
    zip(a, b).map { abs($0 - $1) }.max() ?? 0
}

func rootMeanSquare(_ samples: [Float]) -> Double {
    (samples.map { Double($0) * Double($0) }.reduce(0, +) / Double(max(samples.count, 1))).squareRoot()
}

/// All samples of a source, read `piece` samples at a time.
func readAll(_ source: any SampleSource, piece: Int = 1000) throws -> [Float] {
    var all: [Float] = []
    var buffer = [Float](repeating: 0, count: piece)
    while true {
        let count = try buffer.withUnsafeMutableBufferPointer { try source.read(into: $0) }
        if count == 0 { return all }
        all += buffer[..<count]
    }
}

func readAll(_ stream: MonoAudioStream, piece: Int = 1000) throws -> [Float] {
    var all: [Float] = []
    var buffer = [Float](repeating: 0, count: piece)
    while true {
        let count = try buffer.withUnsafeMutableBufferPointer { try stream.read(into: $0) }
        if count == 0 { return all }
        all += buffer[..<count]
    }
}

/// The LyraError that `body` throws, or nil. Other errors are rethrown.
func lyraError(_ body: () throws -> Void) throws -> LyraError? {
    do {
        try body()
        return nil
    } catch let error as LyraError {
        return error
    }
}
