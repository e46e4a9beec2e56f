import Foundation
import LyraBase
import LyraFormats
import LyraTensor
import Testing

@testable import LyraModel
@testable import LyraTraining

/// A vocoder trained from nothing.
@Suite struct VocoderTrainingTests {
    /// Random tensors, with or without weight normalisation.
    private struct RandomSource: WeightSource {
        let origin = "random weights"
        let precision = Precision.exact
        let hasWeightNorm: Bool

        func contains(_ name: String) -> Bool {
            name.hasSuffix("weight_g") || name.hasSuffix("weight_v") ? hasWeightNorm : !hasWeightNorm
        }

        func tensor(_ name: String, _ shape: [Int]) throws -> StoredTensor {
            let count = shape.reduce(1, *), storage = try FloatStorage(count: count)
            var state = SplitMix64(seed: name.utf8.reduce(1) { $0 &* 31 &+ UInt64($1) })
            let fan = Float(max(shape.dropFirst().reduce(1, *), 1))
            let size = name.hasSuffix("dict.weight") ? 1 : name.hasSuffix("bias") ? 0.01 : 1.5 / fan.squareRoot()
            for index in 0..<count {
                let uniform = Float(state.next() >> 40) * Float(0x1p-24) - 0.5
                storage.base[index] = name.hasSuffix("weight_g") ? 1 : 2 * uniform * size
            }
            return StoredTensor(
                name: name, type: .float32, shape: shape,
                bytes: UnsafeRawBufferPointer(start: storage.base, count: 4 * count), owner: storage, source: origin)
        }
    }

    private static let configuration: VocoderConfiguration = {
        var tiny = VocoderConfiguration(units: 6, initialChannels: 16, embeddingDim: 8)
        (tiny.upsampleRates, tiny.upsampleKernelSizes, tiny.codeHopSize) = ([5, 4], [11, 8], 20)
        (tiny.resblockKernelSizes, tiny.resblockDilationSizes) = ([3, 5], [[1, 3], [1, 2]])
        return tiny
    }()

    private static let units: [Int32] = [3, 0, 5, 1], frames = [5, 9, 2, 8]

    /// The training pass and a stream make the same bits from the same layers.
    @Test func theTrainingPassMakesTheWaveformOfAStream() throws {
        let vocoder = try Vocoder(configuration: Self.configuration, weights: RandomSource(hasWeightNorm: true))
        let whole = try vocoder.waveform(units: Self.units, frames: Self.frames).values
        #expect(whole.count == Self.frames.reduce(0, +) * vocoder.samplesPerFrame)
        var stream = try StreamedWaveform(vocoder)
        var pieces: [Float] = []
        for (unit, count) in zip(Self.units, Self.frames) {
            pieces += try stream.push([Int32](repeating: unit, count: count), isLast: false)?.values ?? []
        }
        pieces += try stream.push([], isLast: true)?.values ?? []
        #expect(pieces == whole)
    }

    /// The predictor's gradients flow through the numbers that a stream rounds to frames.
    @Test func durationsAreThoseOfAStream() throws {
        let vocoder = try Vocoder(configuration: Self.configuration, weights: RandomSource(hasWeightNorm: true))
        var stream = try StreamedDurations(vocoder)
        let frames = try stream.push(Self.units, isLast: true).map(\.frames)
        let logs = try vocoder.logDurations(of: Self.units).values
        #expect(logs.map { max(1, Int((exp($0) - 1).rounded(.toNearestOrEven))) } == frames)
        #expect(Set(logs).count == Self.units.count)
    }

    @Test func wrongUnitsAndDurationsAreNamed() throws {
        let vocoder = try Vocoder(configuration: Self.configuration, weights: RandomSource(hasWeightNorm: false))
        let wrong: [([Int32], [Int])] = [
            ([], []), ([1], [1, 2]), ([6], [1]), ([-1], [1]), ([1], [0]), ([1], [1001]),
        ]
        for (units, frames) in wrong {
            #expect(throws: LyraError.self) { try vocoder.waveform(units: units, frames: frames) }
        }
    }

    /// 30 steps towards two tones bring the STFT loss below 0.7 of what it was: far more than the 0.99 that a wrong
    /// sign or a lost gradient of most layers would leave. Every parameter that makes the waveform learns.
    @Test(arguments: [false, true]) func thirtyStepsLowerTheLoss(_ hasWeightNorm: Bool) throws {
        let trainables = TrainableParameters { _, name in !name.hasPrefix("dur_predictor.") }
        let vocoder = try Vocoder(
            configuration: Self.configuration,
            weights: TrainableSource(
                base: RandomSource(hasWeightNorm: hasWeightNorm), part: .vocoder, trainables: trainables))
        let parameters = trainables.elements.map(\.parameter)
        let before = parameters.map { $0.tensor.values }
        var optimizer = try Optimizer(groups: [Optimizer.Group(learningRate: 5e-3)])
        for parameter in parameters { try optimizer.add(parameter.name, shape: parameter.shape) }
        let samples = Self.frames.reduce(0, +) * vocoder.samplesPerFrame
        let target = try Tensor(
            [1, samples],
            (0..<samples).map { (time: Int) -> Float in
                let slow: Double = sin(0.31 * Double(time)), fast: Double = sin(1.1 * Double(time))
                return Float(0.3 * slow + 0.2 * fast)
            })
        let loss = try MultiResolutionSTFTLoss([
            SpectrumConfiguration(fftLength: 64, hopLength: 16, windowLength: 64)
        ])
        var losses: [Double] = []
        for _ in 0..<30 {
            let waveform = try vocoder.waveform(units: Self.units, frames: Self.frames)
            let result = try loss(waveform, target: target)
            losses.append(result.value)
            try backpropagate([(waveform, result.gradient)])
            for parameter in parameters {
                let gradient = try #require(parameter.gradient, "\(parameter.name)")
                try optimizer.update(parameter.name, parameter, gradient: gradient)
                parameter.node.clearGradient()
            }
        }
        let (first, last) = try (#require(losses.first), #require(losses.last))
        #expect(last < 0.7 * first, "\(losses)")
        for (parameter, old) in zip(parameters, before) { #expect(parameter.tensor.values != old, "\(parameter.name)") }
    }
}
