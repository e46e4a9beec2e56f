import Foundation
import Testing

@testable import LyraMedia

/// Resamples with `process` and `finish`, with input and output in pieces of the given sizes.
private func resample(_ input: [Float], from: Int, to: Int, inputPiece: Int = .max, outputPiece: Int = 4096) throws
    -> [Float]
{
    let resampler = try Resampler(from: from, to: to)
    var output: [Float] = []
    var room = [Float](repeating: 0, count: outputPiece)
    var offset = 0
    while offset < input.count {
        let end = offset + min(inputPiece, input.count - offset)
        let (consumed, produced) = input[offset..<end].withUnsafeBufferPointer { piece in
            room.withUnsafeMutableBufferPointer { resampler.process(piece, into: $0) }
        }
        output += room[..<produced]
        offset += consumed
    }
    while true {
        let count = room.withUnsafeMutableBufferPointer { resampler.finish(into: $0) }
        if count == 0 { return output }
        output += room[..<count]
    }
}

/// The formula of the windowed-sinc sum in double precision, over the whole input.
private func slowResample(_ input: [Float], from: Int, to: Int) -> [Float] {
    let cutoff = 0.99 * Double(min(from, to))
    let count = (input.count * to + from - 1) / from
    return (0..<count).map { index in
        var sum = 0.0
        for (place, sample) in input.enumerated() {
            let t = (Double(place) / Double(from) - Double(index) / Double(to)) * cutoff
            guard abs(t) < 6 else { continue }
            let sinc = t == 0 ? 1 : sin(.pi * t) / (.pi * t)
            sum += Double(sample) * sinc * pow(cos(.pi * t / 12), 2) * cutoff / Double(from)
        }
        return Float(sum)
    }
}

@Suite struct ResamplerTests {
    /// torchaudio 2.11's functional.resample gave the values. 1e-5 is promised; both sum in float32.
    @Test(arguments: [
        (44_100, 16_000), (48_000, 16_000), (8_000, 16_000), (22_050, 16_000), (11_025, 16_000), (16_000, 24_000),
        (96_000, 16_000), (16_001, 16_000),
    ])
    func equalsTorchaudio(from: Int, to: Int) throws {
        let input = try floats("resample_input.f32")
        let expected = try floats("resample_\(from)_\(to).f32")
        let output = try resample(input, from: from, to: to)
        #expect(output.count == expected.count)
        #expect(largestDifference(output, expected) < 1e-5)
    }

    @Test func equalRatesCopy() throws {
        let input = noise(10_000, seed: 31)
        #expect(try resample(input, from: 16_000, to: 16_000, inputPiece: 77) == input)
    }

    /// With a table of phases, the kernels are float32 like torchaudio's: 3e-5 from the exact sum at these rates.
    /// Without a table, kernels are computed in double precision: 1e-6.
    @Test(arguments: [
        (44_100, 16_000, Float(3e-5)), (3, 2, 1e-6), (1, 7, 1e-6), (7, 1, 1e-6), (1_000_000, 1_000, 1e-6),
        (999_983, 16_000, 1e-6), (16_000, 999_983, 1e-6),
    ])
    func equalsTheFormula(from: Int, to: Int, tolerance: Float) throws {
        let input = noise(from > 100 * to ? 20_000 : to > 10 * from ? 50 : 700, seed: 32)
        let expected = slowResample(input, from: from, to: to)
        let output = try resample(input, from: from, to: to)
        #expect(output.count == expected.count)
        #expect(largestDifference(output, expected) < tolerance)
    }

    @Test(arguments: [(44_100, 16_000), (8_000, 16_000), (999_983, 16_000), (11_025, 48_000)])
    func piecesGiveTheSameBitsAsTheWhole(from: Int, to: Int) throws {
        let input = noise(from > 500_000 ? 60_000 : 30_000, seed: 33)
        let whole = try resample(input, from: from, to: to).map(\.bitPattern)
        for (inputPiece, outputPiece) in [(1, 4096), (7, 13), (1_000, 1), (160, 160), (29_999, 100_000)] {
            let pieces = try resample(input, from: from, to: to, inputPiece: inputPiece, outputPiece: outputPiece)
            #expect(pieces.map(\.bitPattern) == whole)
        }
    }

    @Test func lengthIsTheCeilingOfTheRatio() throws {
        for (from, to) in [(44_100, 16_000), (8_000, 16_000), (3, 2), (48_000, 16_000), (16_000, 44_100)] {
            for count in [0, 1, 2, 3, 5, 16, 17, 441, 442, 1000] {
                let output = try resample(noise(count, seed: 34), from: from, to: to)
                #expect(output.count == (count * to + from - 1) / from)
            }
        }
    }

    @Test func impossibleRatesAreRefused() throws {
        for rates in [(0, 16_000), (16_000, 0), (-1, 1), (1_000_001, 16_000), (Int.min, Int.max)] {
            #expect(try lyraError { _ = try Resampler(from: rates.0, to: rates.1) }?.code == .argument)
        }
    }

    @Test func theMostExtremeRatesWork() throws {
        #expect(try resample(noise(1_000, seed: 35), from: 1_000_000, to: 1).count == 1)
        let slow = try resample([0.5, 0.25], from: 1, to: 1_000_000)
        #expect(slow.count == 2_000_000)
        #expect(slow.allSatisfy { $0.isFinite })
    }
}
