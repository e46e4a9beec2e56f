import LyraBase
import LyraTensor
import Testing

@testable import LyraMedia

/// ImageBind's features of a sound, against kaldi (Tests/Fixtures/media/make_fbank.py) and the definition.
@Suite struct SoundClipsTests {
    /// The signal of make_fbank.py.
    private func signal(_ count: Int) -> [Float] {
        (0..<count).map { i -> Float in
            let noise = (i * i * 31 + i * 977) % 20_011 - 10_000
            return Float(noise) / 16_384 + Float(i / 40 % 2) * 0.125
        }
    }

    private func clips(_ samples: [Float], rate: Int = 16_000, limit: Double = 600) throws -> SoundClips {
        let queue = try PCMQueue(sampleRate: rate, channels: 1)
        try samples.withUnsafeBufferPointer { try queue.append($0, sampleRate: rate, channels: 1) }
        queue.finish()
        return try SoundClips(queue, limit: limit)
    }

    private func features(_ samples: [Float]) throws -> Tensor {
        let sound = try clips(samples)
        while try !sound.read() {}
        return try sound.features()
    }

    private func bank(_ samples: [Float], bands: Int = 128) throws -> [Float] {
        let features = GrowingBuffer<Float>()
        try samples.withUnsafeBufferPointer { try KaldiFilterBank(bands: bands)($0, into: features) }
        return Array(features.elements)
    }

    /// kaldi and torchaudio sum in float32.
    @Test(arguments: [("fbank_kaldi.f32", 80), ("fbank_torchaudio.f32", 128)])
    func filterBanksEqualKaldi(_ file: String, _ bands: Int) throws {
        let want = try floats(file)
        let got = try bank(signal(2400), bands: bands)
        try #require(got.count == want.count && got.count == 13 * bands)
        let worst = zip(got, want).reduce(Float(0)) { max($0, abs($1.0 - $1.1)) }
        #expect(worst < 1e-3, "\(file): \(worst)")
    }

    @Test func clipsAreTheFirstTheMiddleAndTheLastTwoSeconds() throws {
        let samples = signal(80_000)  // 5 s: clips from 0, 1.5 and 3 s
        let got = try features(samples)
        #expect(got.shape == [3, 128, 204])
        for (clip, start) in [0, 24_000, 48_000].enumerated() {
            let part = samples[start..<start + 32_000]
            let mean = part.reduce(0.0) { $0 + Double($1) } / 32_000
            let bank = try bank(part.map { $0 - Float(mean) })
            let values = got.rows(clip..<clip + 1).values
            for (band, frame) in [(0, 0), (5, 100), (127, 197), (64, 31)] {
                #expect(abs(values[band * 204 + frame] - (bank[frame * 128 + band] + 4.268) / 9.138) < 1e-5)
            }
            // 198 frames fit in two seconds; the rest is padding.
            #expect(values[198] == 4.268 / 9.138 && values[127 * 204 + 203] == 4.268 / 9.138)
        }
    }

    @Test func aShortSoundIsThreeEqualClips() throws {
        let got = try features(signal(8000))
        #expect(got.rows(0..<1).values == got.rows(1..<2).values && got.rows(0..<1).values == got.rows(2..<3).values)
        #expect(try features(signal(400)).shape == [3, 128, 204])
        for count in [0, 1, 399] {
            #expect(try lyraError { _ = try features(signal(count)) }?.code == .format, "\(count) samples")
        }
    }

    @Test func soundsOverTheLimitAreRefused() throws {
        let error = try lyraError {
            let long = try clips(signal(32_001), limit: 2)
            while try !long.read() {}
        }
        #expect(error?.code == .memory && error?.message.contains("longer than 2 s") == true)
        let longest = try clips(signal(32_000), limit: 2)
        while try !longest.read() {}
        #expect(try longest.features().shape == [3, 128, 204])
    }

    @Test func longSoundsAreReadInPieces() throws {
        let long = try clips(signal(2_500_000))
        #expect(try !long.read())
        #expect(try !long.read())
        #expect(try long.read())
    }
}
