import Glibc
import LyraTensor
import Testing

@testable import LyraModel
@testable import LyraTools

/// The numbers with which training from nothing starts.
@Suite struct InitialValuesTests {
    private static let language = DecoderConfiguration(
        hiddenSize: 192, layers: 5, heads: 4, kvHeads: 2, intermediateSize: 512, vocabularySize: 300,
        mropeSections: [6, 9, 9], tiesEmbeddings: true)
    private static let generator = SpeechGeneratorConfiguration(layers: 2, dim: 192, heads: 4, inner: 512, units: 200)
    private static let whisper = WhisperConfiguration(
        width: 192, layers: 4, heads: 4, inner: 768, mels: 80, positions: 300)
    private static let vocoder = VocoderConfiguration(units: 200, initialChannels: 128, embeddingDim: 128)

    private static func values(_ part: InitialValues.Part, seed: UInt64 = 1) -> InitialValues {
        InitialValues(part: part, seed: seed)
    }

    private static let main = values(.main(language, generator))

    /// Standard deviations, worked out by hand from the rules.
    @Test func deviationsFitTheWidths() throws {
        let tower = Self.values(.speechTower(Self.whisper)), vision = Self.values(.visionTower(layers: 3))
        let voice = Self.values(.vocoder(Self.vocoder))
        let cases: [(InitialValues, String, [Int], Double)] = [
            (Self.main, "model.embed_tokens.weight", [300, 192], 0.1021),  // √(2 / 192)
            (Self.main, "model.layers.3.mlp.gate_proj.weight", [512, 192], 0.07217),  // 1 / √192
            (Self.main, "model.layers.3.mlp.down_proj.weight", [192, 512], 0.001426),  // 0.1021 / √(10 · 512)
            (Self.main, "model.mm_speech_projector.linear2.weight", [192, 512], 0.006379),  // 0.1021 · √2 / √512
            (Self.main, "speech_generator.layers.0.self_attn.o_proj.weight", [192, 192], 0.03608),  // 1 / √(4 · 192)
            (Self.main, "speech_generator.output_proj.weight", [201, 192], 0.02),
            (tower, "encoder.conv1.weight", [192, 80, 3], 0.1420),  // 2.2 / √240
            (tower, "encoder.layers.0.fc2.weight", [192, 768], 0.01276),  // 1 / √(8 · 768)
            (vision, "blocks.2.attn.proj.weight", [96, 96], 0.04167),  // 1 / √(6 · 96)
            (vision, "patch_embed.proj.weight", [96, 3, 2, 14, 14], 0.02916),  // 1 / √1176
            (vision, "merger.mlp.2.weight", [192, 384], 0.007366),  // 0.1021 · √2 / √384
            (voice, "ups.0.weight", [128, 64, 11], 0.08427),  // √(2 / (128 · 11 / 5))
            (voice, "resblocks.0.convs1.0.weight", [64, 64, 3], 0.1021),  // √(2 / 192)
            (voice, "resblocks.0.convs2.0.weight", [64, 64, 3], 0.02635),  // √(2 / 192) / √15
        ]
        for (values, name, shape, deviation) in cases {
            let numbers = try values(name, shape).values, count = Double(numbers.count)
            var (mean, square) = (0.0, 0.0)
            for number in numbers.map({ Double($0) }) {
                mean += number / count
                square += number * number / count
            }
            // Five standard errors: the fourth moment of a uniform distribution is 1.8 squares of its variance. The
            // deviations above are rounded to four digits.
            #expect(abs(mean) < 5 * deviation / count.squareRoot(), "\(name)")
            #expect(abs(square.squareRoot() / deviation - 1) < 5 * 0.45 / count.squareRoot() + 5e-4, "\(name)")
        }
    }

    @Test func vectorsAreConstants() throws {
        let norm = try Self.main("model.norm.weight", [192])
        let bias = try Self.main("model.layers.0.self_attn.v_proj.bias", [96])
        #expect((0..<96).allSatisfy { norm[$0] == 1 && bias[$0] == 0 })
        let scores = try Self.main("speech_generator.output_proj.bias", [201])
        #expect((0..<200).allSatisfy { scores[$0] == 0 } && scores[200] == -4)
    }

    /// Names, parts and seeds decide the numbers; shapes of other tensors do not.
    @Test func numbersFollowFromPartNameAndSeed() throws {
        let name = "model.layers.0.self_attn.v_proj.weight"
        func first(_ values: InitialValues, _ name: String) throws -> Float { try values(name, [4, 192])[0] }
        let one = try first(Self.main, name)
        #expect(try first(Self.values(.main(Self.language, nil)), name) == one)
        #expect(try first(Self.values(.main(Self.language, nil), seed: 2), name) != one)
        #expect(try first(Self.main, "model.layers.1.self_attn.v_proj.weight") != one)
        #expect(try first(Self.values(.visionTower(layers: 5)), name) != one)
    }

    /// `sinusoids(3, 4)` of openai/whisper: frequencies 1 and 1/10000, sines before cosines.
    @Test func positionsAreWhispersSinusoids() throws {
        let small = WhisperConfiguration(width: 4, layers: 1, heads: 1, inner: 4, mels: 80, positions: 3)
        let table = try Self.values(.speechTower(small))("encoder.embed_positions.weight", [3, 4])
        let wanted: [Float] = [
            0, 0, 1, 1, 0.841_470_98, 0.000_1, 0.540_302_3, 1, 0.909_297_43, 0.000_2, -0.416_146_84, 0.999_999_98,
        ]
        for index in 0..<12 { #expect(abs(table[index] - wanted[index]) < 1e-6, "\(index)") }
    }

    // MARK: Attention of the speech tower

    /// Bands that move as formants do, with a pause: log-mels in Whisper's range. [80, 600]
    private static func mel() throws -> Tensor {
        try Tensor(rows: 80, columns: 600) { mel, frame in
            let time = Float(frame)
            let isPause = frame % 200 > 160
            let bands = [14 + 8 * sinf(time / 23), 34 + 12 * sinf(time / 37 + 1), 58 + 9 * sinf(time / 29 + 2)]
            let loudness = bands.reduce(Float(0)) { $0 + expf(-powf((Float(mel) - $1) / 4, 2)) }
            return -0.7 + (isPause ? 0 : 1.4 * loudness)
        }
    }

    /// Mean distance in rows between a query and the keys, by their attention weights; of every 30th query.
    private static func distance(_ q: Tensor, _ k: Tensor, heads: Int) -> Double {
        let headDim = q.columns / heads, scale = 1 / Float(headDim).squareRoot()
        let (queries, keys) = (q.values, k.values)
        var (sum, count) = (0.0, 0)
        for head in 0..<heads {
            for row in stride(from: 0, to: q.rows, by: 30) {
                let scores = (0..<k.rows).map { key -> Double in
                    let (a, b) = (row * q.columns + head * headDim, key * k.columns + head * headDim)
                    return Double((0..<headDim).reduce(Float(0)) { $0 + queries[a + $1] * keys[b + $1] } * scale)
                }
                let largest = scores.max() ?? 0
                let weights = scores.map { exp($0 - largest) }
                let far = weights.enumerated().reduce(0.0) { $0 + $1.element * Double(abs($1.offset - row)) }
                sum += far / weights.reduce(0, +)
                count += 1
            }
        }
        return sum / Double(count)
    }

    /// With attention that is alike everywhere the distance would be 100 rows, a third of the window.
    @Test(arguments: [1, 2]) func speechIsHeardNearby(seed: UInt64) throws {
        let weights = RandomWeights(Self.values(.speechTower(Self.whisper), seed: seed))
        let width = Self.whisper.width, heads = Self.whisper.heads
        var encoding = try WhisperEncoder(weights, Self.whisper).begin(mel: Self.mel())
        let encoder = try WhisperEncoder(weights, Self.whisper)
        for layer in 0..<Self.whisper.layers {
            let source = weights.under("layers.\(layer).")
            let x = try LayerNorm(source, "self_attn_layer_norm", width)(encoding.hidden)
            let q = try Linear(source, "self_attn.q_proj", width, width, bias: true)(x)
            let k = try Linear(source, "self_attn.k_proj", width, width, bias: false)(x)
            let near = Self.distance(q, k, heads: heads)
            #expect(near < 20, "layer \(layer): \(near) rows")
            if layer == 0 {
                // Another layer's keys have another projection.
                let other = try Linear(weights.under("layers.1."), "self_attn.k_proj", width, width, bias: false)(x)
                #expect(Self.distance(q, other, heads: heads) > 60)
            }
            _ = try encoder.step(&encoding)
        }
    }

    // MARK: Speech

    /// A blank has e⁻⁴ / 200 = 0.00009 of the units' probability together; ten times that allows for the scores'
    /// deviation, about 0.02 · √192 · 1.5 = 0.4.
    @Test func blanksAreRareAtFirst() throws {
        let generator = try SpeechGenerator(
            RandomWeights(Self.main).under("speech_generator."), Self.generator, language: Self.language)
        var numbers = UniformGenerator(seed: 3, name: "rows")
        let rows = try Tensor(rows: 3, columns: 192) { _, _ in numbers.next() * 1.732 }
        let scores = try generator([rows])
        #expect(scores.shape == [75, 201])
        for row in 0..<scores.rows {
            let position = scores.rows(row..<row + 1)
            let units = (0..<200).reduce(Float(0)) { $0 + expf(position[$1]) }
            let blank = expf(position[200])
            #expect(blank / units < 0.001, "row \(row)")
        }
    }

    /// Neither silence nor noise that tanh cuts off.
    @Test func theVocoderStartsQuietly() throws {
        let weights = RandomWeights(Self.values(.vocoder(Self.vocoder)))
        let vocoder = try Vocoder(configuration: Self.vocoder, weights: weights)
        let samples = try vocoder.waveform(units: [3, 77, 12, 150], frames: [2, 3, 1, 2])
        let square = samples.values.reduce(0.0) { $0 + Double($1) * Double($1) } / Double(samples.count)
        #expect((0.03...0.4).contains(square.squareRoot()), "\(square.squareRoot())")
    }
}
