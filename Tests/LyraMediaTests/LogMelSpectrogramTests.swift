import Foundation
import LyraBase
import Testing

@testable import LyraMedia

private func features(_ pcm: [Float], _ configuration: MelConfiguration) throws -> [Float] {
    try pcm.withUnsafeBufferPointer { try LogMelSpectrogram(configuration)($0).values }
}

/// The definition, term by term: a direct Fourier sum and dense filters.
private func slowFeatures(_ pcm: [Float], _ configuration: MelConfiguration) throws -> [Float] {
    let (length, last) = (configuration.fftLength, configuration.sampleCount - 1)
    let bins = length / 2 + 1
    let filters = try MelFilterBank(melCount: configuration.melCount, bins: bins, sampleRate: configuration.sampleRate)
    var output = [Float](repeating: 0, count: configuration.melCount * configuration.frameCount)
    for frame in 0..<configuration.frameCount {
        let samples = (0..<length).map { index -> Double in
            var place = frame * configuration.hopLength - length / 2 + index
            if place < 0 { place = -place }
            if place > last { place = 2 * last - place }
            let window = pow(sin(.pi * Double(index) / Double(length)), 2)
            return place < pcm.count ? Double(pcm[place]) * window : 0
        }
        let powers = (0..<bins).map { bin -> Double in
            var (re, im) = (0.0, 0.0)
            for (index, sample) in samples.enumerated() {
                let angle = 2 * .pi * Double(index * bin % length) / Double(length)
                re += sample * cos(angle)
                im -= sample * sin(angle)
            }
            return re * re + im * im
        }
        for (mel, band) in filters.bands.enumerated() {
            var sum = 0.0
            for (index, weight) in filters.weights(of: band).enumerated() {
                sum += weight * powers[band.firstBin + index]
            }
            output[mel * configuration.frameCount + frame] = Float(log10(max(sum, 1e-10)))
        }
    }
    let largest = output.max() ?? 0
    return output.map { (max($0, largest - 8) + 4) / 4 }
}

@Suite struct LogMelSpectrogramTests {
    /// transformers' WhisperFeatureExtractor made the features of 7 s of speech (every tenth frame) and of 777 samples
    /// (the first frames), in float32, hence 1e-4.
    @Test(arguments: [("a_speech_short", 128), ("b_speech_short", 80), ("a_speech_tail", 128)])
    func equalsTransformers(name: String, mels: Int) throws {
        let configuration = try MelConfiguration(melCount: mels)
        let output = try features(floats("\(name)_pcm.f32"), configuration)
        let expected = try floats("\(name)_mel.f32")
        let frames =
            name.hasSuffix("tail") ? Array(0..<8) + [2999] : Array(stride(from: 0, to: 720, by: 10)) + [1500, 2999]
        #expect(output.count == mels * 3000)
        #expect(expected.count == frames.count * mels)
        let chosen = frames.flatMap { frame in (0..<mels).map { output[$0 * 3000 + frame] } }
        let difference = largestDifference(chosen, expected)
        #expect(difference < 1e-4, "largest difference \(difference)")
    }

    /// FFT lengths with factors 2, 3, 4, 5 and larger primes, and odd ones; full and half-filled windows; a last frame
    /// with reflected samples.
    @Test(arguments: [
        (400, 160), (50, 13), (49, 10), (22, 11), (97, 31), (360, 90), (2, 1), (3, 2), (512, 128), (1001, 400),
    ])
    func equalsTheDefinition(length: Int, hop: Int) throws {
        for filled in [2000, 1990, 900, 1] {
            let configuration = try MelConfiguration(
                melCount: 20, hopLength: hop, fftLength: length, sampleCount: 2000, sampleRate: 16_000)
            let pcm = noise(filled, seed: 51)
            // 1e-5: float32 rounding of a logarithm below 10, divided by 4, and of sums in another order.
            #expect(largestDifference(try features(pcm, configuration), try slowFeatures(pcm, configuration)) < 1e-5)
        }
    }

    /// The values of transformers' `mel_filter_bank(201, mels, 0, 8000, 16000, "slaney", "slaney")`.
    @Test func filtersEqualSlaneys() throws {
        let filters = try MelFilterBank(melCount: 80, bins: 201, sampleRate: 16_000)
        #expect(filters.bands[0].firstBin == 1)
        #expect(abs(filters.weights(of: filters.bands[0])[0] - 0.024862593984176087) < 1e-9)
        #expect(abs(filters.weights(of: filters.bands[79]).reduce(0, +) - 0.024925339738858847) < 1e-9)
    }

    @Test func silenceGivesTheFloor() throws {
        let configuration = try MelConfiguration(melCount: 128)
        #expect(try features([], configuration).allSatisfy { $0 == -1.5 })
        #expect(try features([Float](repeating: 0, count: 480_000), configuration).allSatisfy { $0 == -1.5 })
    }

    @Test func largeSamplesStayFinite() throws {
        let output = try features([Float](repeating: 1e30, count: 5000), try MelConfiguration())
        #expect(output.allSatisfy { $0.isFinite })
    }

    @Test func wrongInputIsRefused() throws {
        let configuration = try MelConfiguration(sampleCount: 1000)
        #expect(
            try lyraError { _ = try features([Float](repeating: 0, count: 1001), configuration) }?.code == .argument)
        #expect(try lyraError { _ = try features([0, .nan], configuration) }?.code == .format)
        #expect(try lyraError { _ = try features([0, -.infinity], configuration) }?.code == .format)
        var room = [Float](repeating: 0, count: 3)
        let error = try lyraError {
            try room.withUnsafeMutableBufferPointer {
                try LogMelSpectrogram(configuration)(UnsafeBufferPointer(start: nil, count: 0), into: $0)
            }
        }
        #expect(error?.code == .argument)
    }
}

@Suite struct MelConfigurationTests {
    private func read(_ json: String) throws -> MelConfiguration {
        try MelConfiguration(NamedBytes(name: "zoo/preprocessor_config.json", bytes: Array(json.utf8)))
    }

    @Test func publishedConfigurationIsRead() throws {
        let configuration = try read(
            """
            {"chunk_length": 30, "dither": 0.0, "feature_extractor_type": "WhisperFeatureExtractor",
             "feature_size": 128,
             "hop_length": 160, "n_fft": 400, "n_samples": 480000, "nb_max_frames": 3000, "padding_side": "right",
             "padding_value": 0.0, "return_attention_mask": false, "sampling_rate": 16000}
            """)
        #expect(try configuration == MelConfiguration(melCount: 128))
        #expect(configuration.frameCount == 3000)
        #expect(try read("{}") == MelConfiguration())
        let other = try read(#"{"n_samples": 8000, "sampling_rate": 8000, "hop_length": 80, "n_fft": 200}"#)
        #expect(other.frameCount == 100)
    }

    @Test(arguments: [
        "", "[]", "{", #"{"n_fft": 0}"#, #"{"n_fft": -400}"#, #"{"hop_length": 0}"#, #"{"feature_size": 9e18}"#,
        #"{"feature_size": 1e300}"#, #"{"sampling_rate": "fast"}"#, #"{"chunk_length": 9223372036854775807}"#,
        #"{"n_samples": 100, "n_fft": 400}"#, #"{"n_samples": 50000000, "feature_size": 1024}"#,
        #"{"nb_max_frames": 3}"#,
        #"{"chunk_length": 30, "n_samples": 5}"#, #"{"chunk_length": -30}"#, #"{"n_fft": 100000000}"#,
        #"{"hop_length": 1.5}"#, #"{"sampling_rate": null, "n_samples": 4, "n_fft": 2, "hop_length": 60000}"#,
    ])
    func damageIsAnErrorThatNamesTheFile(json: String) throws {
        let error = try #require(try lyraError { _ = try read(json) })
        #expect(error.code == .format)
        #expect(error.message.hasPrefix("zoo/preprocessor_config.json: "))
    }
}
