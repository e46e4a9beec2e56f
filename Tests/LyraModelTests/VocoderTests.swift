import LyraBase
import Testing

@testable import LyraModel

/// The vocoder against waveforms of the reference implementation.
@Suite struct VocoderTests {
    @Test(arguments: ["a", "b"], VocoderFixture.caseNames)
    func framesAndWaveformEqualTheReference(_ model: String, _ name: String) throws {
        let fixture = try VocoderFixture(model)
        let (samples, frames) = try fixture.vocoder.speak(fixture.units(name))
        #expect(frames == (try fixture.frames(name)))
        // 1e-4 is promised, which includes half a step of the fixture's 16-bit values, 1.6e-5.
        #expect(samples.distance(to: try fixture.waveform(name)) < 8e-5)
    }

    /// BF16 adds noise that is far below the speech; frames are the same.
    @Test(arguments: ["a", "b"], VocoderFixture.caseNames)
    func fastSpeechIsCloseToTheReference(_ model: String, _ name: String) throws {
        let fixture = try VocoderFixture(model)
        var weights = fixture.weights
        weights.precision = .fast
        let vocoder = try Vocoder(configuration: fixture.configuration, weights: weights)
        let (samples, frames) = try vocoder.speak(fixture.units(name))
        #expect(frames == (try fixture.frames(name)))
        let waveform = try fixture.waveform(name)
        try #require(samples.count == waveform.count)
        let power = waveform.reduce(0) { $0 + $1 * $1 }
        let noise = zip(samples, waveform).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        print("fast speech, \(model) \(name): noise \((noise / power).squareRoot()) of the signal")
        #expect(noise > 0 && noise < power * 0.03 * 0.03)
    }

    @Test func noUnitsMakeNoSound() throws {
        let (samples, frames) = try VocoderFixture("a").vocoder.speak([])
        #expect(samples.isEmpty && frames.isEmpty)
    }

    @Test func anUnknownUnitIsRefusedWithItsWholeList() throws {
        let stream = VocoderStream(try VocoderFixture("a").vocoder)
        for unit: Int32 in [-1, 100, .max, .min] {
            let error = #expect(throws: LyraError.self) { try stream.append([3, unit]) }
            #expect(error?.code == .argument)
            #expect(error?.message.contains("\(unit)") == true)
        }
        #expect(!stream.hasWork)
    }

    @Test func unitsAfterTheEndAreRefused() throws {
        let stream = VocoderStream(try VocoderFixture("a").vocoder)
        stream.finish()
        let error = #expect(throws: LyraError.self) { try stream.append([1]) }
        #expect(error?.code == .state)
    }

    @Test func foldedWeightsSoundLikeWeightNormedOnes() throws {
        let fixture = try VocoderFixture("a")
        var folded = ArraySource()
        for name in fixture.weights.names where !name.hasSuffix("weight_g") {
            guard var tensor = fixture.weights[name] else { continue }
            guard name.hasSuffix("weight_v") else {
                folded[name] = tensor
                continue
            }
            let gains = try fixture.weights.array(name.dropLast() + "g")
            let columns = tensor.values.count / gains.count
            for (row, gain) in gains.enumerated() {
                let range = row * columns..<(row + 1) * columns
                let squares = tensor.values[range].map { Double($0) * Double($0) }
                let norm = squares.reduce(0, +).squareRoot()
                for index in range { tensor.values[index] = Float(Double(tensor.values[index]) * Double(gain) / norm) }
            }
            folded[String(name.dropLast(2))] = tensor
        }
        let plain = try Vocoder(configuration: fixture.configuration, weights: folded)
        let units = try fixture.units("turn_speech")
        let (samples, frames) = try plain.speak(units)
        let expected = try fixture.vocoder.speak(units)
        #expect(frames == expected.frames)
        // The folded weights are rounded at another point: a few units of 2⁻²⁴ in each of a hundred layers.
        #expect(samples.distance(to: expected.samples) < 1e-5)
    }

    @Test func everyTensorIsRequiredByNameAndShape() throws {
        let fixture = try VocoderFixture("a")
        for name in fixture.weights.names {
            var damaged = fixture.weights
            damaged[name] = nil
            let missing = #expect(throws: LyraError.self, "\(name)") {
                try Vocoder(configuration: fixture.configuration, weights: damaged)
            }
            #expect(missing?.code == .missing, "\(name)")
            damaged[name] = ([1, 2, 3, 4], Array(repeating: 0, count: 24))
            let misshapen = #expect(throws: LyraError.self, "\(name)") {
                try Vocoder(configuration: fixture.configuration, weights: damaged)
            }
            #expect(misshapen?.code == .format, "\(name)")
        }
    }

    @Test(arguments: [Float.nan, .infinity, -.infinity, 1e30, -1e30, 100])
    func durationsStayWithinBounds(_ bias: Float) throws {
        let fixture = try VocoderFixture("a")
        var weights = fixture.weights
        weights["dur_predictor.proj.bias"] = ([1], [bias])
        let vocoder = try Vocoder(configuration: fixture.configuration, weights: weights)
        let stream = VocoderStream(vocoder)
        try stream.append([1, 2])
        stream.finish()
        let samples = try stream.produce()
        #expect(samples.count <= VocoderStream.defaultFrames * 320)
        #expect(stream.decidedFrames.allSatisfy { $0 == (bias > 0 ? 1000 : 1) })
    }

    @Test func damagedWeightsDoNotCrash() throws {
        let fixture = try VocoderFixture("a")
        for value in [Float.nan, .infinity, 1e38] {
            var weights = fixture.weights
            weights["conv_pre.bias"] = ([32], Array(repeating: value, count: 32))
            weights["dict.weight"] = ([100, 16], Array(repeating: value, count: 1600))
            let vocoder = try Vocoder(configuration: fixture.configuration, weights: weights)
            let (samples, frames) = try vocoder.speak([1, 2, 3])
            #expect(frames == [1, 1, 1])
            #expect(samples.count == 960)
        }
    }
}
