import Foundation
import LyraBase
import LyraTensor
import Testing

@testable import LyraModel

/// A tiny vocoder with random weights, and waveforms that a reference implementation in PyTorch made with it.
///
/// - `X_weights.safetensors`: the weight-normed tensors.
/// - `X_cases.safetensors`: units, frames and waveforms (16-bit integers, 1/32767 each).
/// - `X_config.json`: the configuration.
struct VocoderFixture {
    let configuration: VocoderConfiguration
    let weights: ArraySource
    let vocoder: Vocoder
    private let cases: ArraySource

    static let caseNames = ["vocoder", "turn_text", "turn_speech", "turn_long"]

    init(_ name: String) throws {
        configuration = try Self.configuration(Self.json(name))
        weights = try ArraySource(Self.file("\(name)_weights.safetensors"))
        cases = try ArraySource(Self.file("\(name)_cases.safetensors"))
        vocoder = try Vocoder(configuration: configuration, weights: weights)
    }

    func units(_ name: String) throws -> [Int32] { try cases.array("\(name).units").map { Int32($0) } }
    func frames(_ name: String) throws -> [Int] { try cases.array("\(name).frames").map { Int($0) } }
    func waveform(_ name: String) throws -> [Float] { try cases.array("\(name).waveform").map { $0 / 32767 } }

    static func file(_ name: String) throws -> Data {
        let tests = URL(fileURLWithPath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        return try Data(contentsOf: tests.appendingPathComponent("Fixtures/vocoder/\(name)"))
    }

    static func json(_ name: String) throws -> [String: Any] {
        try #require(JSONSerialization.jsonObject(with: file("\(name)_config.json")) as? [String: Any])
    }

    static func configuration(_ json: [String: Any]) throws -> VocoderConfiguration {
        try JSONDecoder().decode(VocoderConfiguration.self, from: JSONSerialization.data(withJSONObject: json))
    }
}

/// Tensors in memory.
struct ArraySource: WeightSource {
    var precision = Precision.exact
    var origin = "memory"
    private var tensors: [String: (shape: [Int], values: [Float])] = [:]

    init(origin: String = "memory") { self.origin = origin }

    /// Reads the F32, I32 and I16 tensors of a safetensors file of ours.
    init(_ file: Data) throws {
        let length = Int(file.withUnsafeBytes { $0.loadUnaligned(as: UInt64.self) })
        let parsed = try JSONSerialization.jsonObject(with: file.subdata(in: 8..<8 + length))
        for case (let name, let entry as [String: Any]) in try #require(parsed as? [String: Any]) {
            guard let shape = entry["shape"] as? [Int], let type = entry["dtype"] as? String,
                let offsets = entry["data_offsets"] as? [Int]
            else { continue }
            let bytes = file.subdata(in: 8 + length + offsets[0]..<8 + length + offsets[1])
            tensors[name] = (shape, bytes.withUnsafeBytes { Self.values($0, type) })
        }
    }

    private static func values(_ bytes: UnsafeRawBufferPointer, _ type: String) -> [Float] {
        switch type {
        case "F32": (0..<bytes.count / 4).map { bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Float.self) }
        case "I32": (0..<bytes.count / 4).map { Float(bytes.loadUnaligned(fromByteOffset: $0 * 4, as: Int32.self)) }
        default: (0..<bytes.count / 2).map { Float(bytes.loadUnaligned(fromByteOffset: $0 * 2, as: Int16.self)) }
        }
    }

    var names: [String] { tensors.keys.sorted() }

    subscript(name: String) -> (shape: [Int], values: [Float])? {
        get { tensors[name] }
        set { tensors[name] = newValue }
    }

    func array(_ name: String) throws -> [Float] { try #require(tensors[name]).values }

    func contains(_ name: String) -> Bool { tensors[name] != nil }

    func tensor(_ name: String, _ shape: [Int]) throws -> StoredTensor {
        guard let tensor = tensors[name] else { throw LyraError(.missing, "\(origin): there is no tensor \(name)") }
        guard tensor.shape == shape else {
            throw LyraError(.format, "\(origin): tensor \(name) has shape \(tensor.shape), not \(shape)")
        }
        let storage = try FloatStorage(count: tensor.values.count)
        for (index, value) in tensor.values.enumerated() { storage.base[index] = value }
        return StoredTensor(
            name: name, type: .float32, shape: shape,
            bytes: UnsafeRawBufferPointer(start: storage.base, count: 4 * tensor.values.count), owner: storage,
            source: origin)
    }
}

extension VocoderStream {
    /// The samples of one step.
    func produce() throws -> [Float] {
        let samples = GrowingBuffer<Float>()
        try produce(into: samples)
        return Array(samples.elements)
    }

    /// Steps until no more can be computed. → samples and frames
    func drain() throws -> (samples: [Float], frames: [Int]) {
        var (samples, frames): ([Float], [Int]) = ([], [])
        while hasWork {
            samples += try produce()
            frames += decidedFrames
        }
        return (samples, frames)
    }
}

extension Vocoder {
    /// All of `units` at once.
    func speak(_ units: [Int32], framesPerPiece: Int = VocoderStream.defaultFrames) throws -> (
        samples: [Float], frames: [Int]
    ) {
        let stream = VocoderStream(self, framesPerPiece: framesPerPiece)
        try stream.append(units)
        stream.finish()
        return try stream.drain()
    }
}

extension [Float] {
    /// The largest difference; infinite if the lengths differ.
    func distance(to other: [Float]) -> Float {
        guard count == other.count else { return .infinity }
        return zip(self, other).reduce(0) { Swift.max($0, abs($1.0 - $1.1)) }
    }
}
