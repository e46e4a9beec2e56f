import CKernels
import Foundation
import LyraBase
import LyraFormats
import LyraTensor
import TestSupport
import Testing

/// One of the two small random checkpoints in Tests/Fixtures: losses and gradients that PyTorch computed in float64.
struct Golden: GoldenFixture, Sendable, CustomTestStringConvertible {
    let name: String
    var testDescription: String { name }

    static let both = [Golden(name: "a"), Golden(name: "b")]

    func tensor(_ name: String, _ tensor: String) throws -> Tensor { try stored(name, tensor).values() }

    func doubles(_ name: String, _ tensor: String) throws -> [Double] { try stored(name, tensor).doubles() }
}

extension StoredTensor {
    func doubles() throws -> [Double] {
        guard type == .float64 else { throw FixtureError("tensor \(name) is not of float64") }
        return (0..<count).map { bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self) }
    }
}

/// A file of Tests/Fixtures/training.
struct TrainingFixture {
    let file: Safetensors

    init(_ name: String) throws {
        file = try Safetensors(path: Golden.path("training/\(name).safetensors"))
    }

    func stored(_ name: String) throws -> StoredTensor { try #require(file.tensor(name), "no tensor \(name)") }
    func tensor(_ name: String) throws -> Tensor { try stored(name).values() }
    func doubles(_ name: String) throws -> [Double] { try stored(name).doubles() }
    func integers(_ name: String) throws -> [Int32] { try stored(name).integers().map { Int32($0) } }
}

/// The largest difference, relative to the largest magnitude that was wanted. NaN counts as infinite.
func difference(_ got: [Float], _ want: [Double]) -> Double {
    guard got.count == want.count else { return .infinity }
    let scale = want.reduce(Double.leastNormalMagnitude) { max($0, abs($1)) }
    return zip(got, want).reduce(0.0) { worst, pair in
        let distance = abs(Double(pair.0) - pair.1)
        return distance.isNaN ? .infinity : max(worst, distance)
    } / scale
}

func difference(_ got: Double, _ want: Double) -> Double { abs(got - want) / max(abs(want), .leastNormalMagnitude) }

/// Normally distributed numbers that follow from the seed.
func normal(_ shape: [Int], seed: Int, deviation: Double = 1) throws -> Tensor {
    var random = SplitMix64(seed: UInt64(truncatingIfNeeded: seed))
    return try Tensor(shape, (0..<shape.reduce(1, *)).map { _ in Float(random.nextNormal() * deviation) })
}

/// The gradient of `loss` at x by central differences, with the step that the floats really make.
///
/// - Parameter step: of each element in turn; the error is of the order of its square
func centralDifferences(_ x: Tensor, step: Float, _ loss: (Tensor) throws -> Double) throws -> [Double] {
    let values = x.values
    return try values.indices.map { index in
        let (above, below) = (values[index] + step, values[index] - step)
        func value(_ element: Float) throws -> Double {
            var moved = values
            moved[index] = element
            return try loss(Tensor(x.shape, moved))
        }
        return (try value(above) - value(below)) / (Double(above) - Double(below))
    }
}
