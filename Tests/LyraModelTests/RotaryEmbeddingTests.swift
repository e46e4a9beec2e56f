import Foundation
import Testing

@testable import LyraModel
@testable import LyraTensor

/// Rotary angles, against the formula θ^(−2i/d) · id evaluated in double precision.
@Suite struct RotaryEmbeddingTests {
    /// cos and sin of an angle in float32 are off by the rounding of the angle, 2^-24 of it.
    private func expect(
        _ rotary: RotaryEmbedding, _ positions: [Position], headDim: Int, theta: Double, axis: (Int) -> Int
    ) throws {
        let rotation = try rotary(positions), (cosines, sines) = (rotation.cos, rotation.sin)
        #expect(cosines.shape == [positions.count, headDim / 2] && sines.shape == cosines.shape)
        for (row, position) in positions.enumerated() {
            let ids = [position.time, position.height, position.width]
            for pair in 0..<headDim / 2 {
                let angle = Double(ids[axis(pair)]) * pow(theta, -2 * Double(pair) / Double(headDim))
                let tolerance = 1e-6 + abs(angle) * 4e-7
                #expect(abs(Double(cosines.values[row * headDim / 2 + pair]) - cos(angle)) < tolerance)
                #expect(abs(Double(sines.values[row * headDim / 2 + pair]) - sin(angle)) < tolerance)
            }
        }
    }

    @Test func eachPairFollowsItsAxis() throws {
        let rotary = RotaryEmbedding(headDim: 16, theta: 1e6, sections: [2, 3, 3])
        let positions = [
            Position(time: 1, height: 20, width: 300), Position(7), Position(time: 0, height: 5, width: 0),
        ]
        try expect(rotary, positions, headDim: 16, theta: 1e6) { $0 < 2 ? 0 : $0 < 5 ? 1 : 2 }
    }

    @Test func plainPositionsFollowTime() throws {
        let rotary = RotaryEmbedding(headDim: 12, theta: 10000, sections: [])
        try expect(rotary, [Position(time: 9, height: 1, width: 2)], headDim: 12, theta: 10000) { _ in 0 }
    }

    @Test func theOriginIsNotRotated() throws {
        let rotation = try RotaryEmbedding(headDim: 16, theta: 1e6, sections: [2, 3, 3])([Position(0)])
        #expect(rotation.cos.values == [Float](repeating: 1, count: 8))
        #expect(rotation.sin.values == [Float](repeating: 0, count: 8))
    }
}
