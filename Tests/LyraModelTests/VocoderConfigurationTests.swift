import LyraBase
import Testing

@testable import LyraModel

/// Invalid keys of a vocoder's config.json are refused by name, before anything is computed from them.
@Suite struct VocoderConfigurationTests {
    @Test func thePublishedSizesAreTheDefault() throws {
        let published = VocoderConfiguration()
        try published.validate(source: "config.json")
        #expect(published.upsampleInitialChannel == 512)
        #expect(published.numEmbeddings == 1000)
        #expect(published.embeddingDim == 128)
    }

    struct Damage: CustomTestStringConvertible, @unchecked Sendable {
        let key: String
        let value: Any
        var code = LyraError.Code.format
        var testDescription: String { "\(key) = \(value)" }
    }

    static let damages: [Damage] = [
        Damage(key: "resblock", value: "2", code: .unsupported),
        Damage(key: "upsample_rates", value: [Int]()),
        Damage(key: "upsample_rates", value: [5, 4, 4, 2]),
        Damage(key: "upsample_rates", value: [5, 4, 4, 2, 0]),
        Damage(key: "upsample_rates", value: [5, 4, 4, 2, -2]),
        Damage(key: "upsample_rates", value: [5, 4, 4, 2, Int.max]),
        Damage(key: "upsample_rates", value: [10, 4, 4, 2, 1]),
        Damage(key: "upsample_kernel_sizes", value: [11, 8, 8, 4, 5]),
        Damage(key: "upsample_kernel_sizes", value: [3, 8, 8, 4, 4]),
        Damage(key: "upsample_kernel_sizes", value: [11, 8, 8, 4, 1 << 40]),
        Damage(key: "upsample_kernel_sizes", value: [11, 8, 8, 4]),
        Damage(key: "upsample_initial_channel", value: 16),
        Damage(key: "upsample_initial_channel", value: 0),
        Damage(key: "upsample_initial_channel", value: Int.min),
        Damage(key: "upsample_initial_channel", value: 1 << 50),
        Damage(key: "resblock_kernel_sizes", value: [3, 7, 10]),
        Damage(key: "resblock_kernel_sizes", value: [3, 7]),
        Damage(key: "resblock_kernel_sizes", value: [Int]()),
        Damage(key: "resblock_kernel_sizes", value: [3, 7, -1]),
        Damage(key: "resblock_kernel_sizes", value: [3, 7, Int.max]),
        Damage(key: "resblock_dilation_sizes", value: [[1, 3, 5], [1, 3, 5]]),
        Damage(key: "resblock_dilation_sizes", value: [[1, 3, 5], [1, 3, 5], [Int]()]),
        Damage(key: "resblock_dilation_sizes", value: [[1, 3, 5], [1, 3, 5], [1, 3, Int.max]]),
        Damage(key: "resblock_dilation_sizes", value: [[1, 3, 5], [1, 3, 5], [0]]),
        Damage(key: "num_embeddings", value: 0),
        Damage(key: "num_embeddings", value: Int.max),
        Damage(key: "embedding_dim", value: -1),
        Damage(key: "embedding_dim", value: 1 << 40),
        Damage(key: "model_in_dim", value: 32, code: .unsupported),
        Damage(key: "code_hop_size", value: 256),
        Damage(key: "sampling_rate", value: 0),
        Damage(key: "sampling_rate", value: Int.max),
        Damage(
            key: "dur_predictor_params",
            value: ["encoder_embed_dim": 16, "var_pred_hidden_dim": 0, "var_pred_kernel_size": 3]),
        Damage(
            key: "dur_predictor_params",
            value: ["encoder_embed_dim": 16, "var_pred_hidden_dim": 16, "var_pred_kernel_size": 5], code: .unsupported),
        Damage(
            key: "dur_predictor_params",
            value: ["encoder_embed_dim": 8, "var_pred_hidden_dim": 16, "var_pred_kernel_size": 3], code: .unsupported),
    ]

    @Test(arguments: damages) func invalidConfigurationsAreRefused(_ damage: Damage) throws {
        var json = try VocoderFixture.json("a")
        json[damage.key] = damage.value
        let configuration = try VocoderFixture.configuration(json)
        let error = #expect(throws: LyraError.self) { try configuration.validate(source: "voice/config.json") }
        #expect(error?.code == damage.code)
        #expect(error?.message.hasPrefix("voice/config.json: ") == true)
    }

    @Test func networksThatWouldTakeAllMemoryAreRefused() throws {
        var wide = VocoderConfiguration(initialChannels: 8192)
        wide.upsampleRates = [64, 64]
        wide.upsampleKernelSizes = [64, 64]
        wide.codeHopSize = 4096
        #expect(throws: LyraError.self) { try wide.validate(source: "") }
        wide = VocoderConfiguration()
        wide.resblockKernelSizes = [63, 63, 63]
        wide.resblockDilationSizes = Array(repeating: Array(repeating: 64, count: 8), count: 3)
        #expect(throws: LyraError.self) { try wide.validate(source: "") }
    }

    @Test func fieldsOfTheWrongTypeOrMissingAreRefused() throws {
        for key in try VocoderFixture.json("a").keys where key != "dur_prediction_weight" {
            var json = try VocoderFixture.json("a")
            json[key] = nil
            #expect(throws: DecodingError.self, "\(key)") { try VocoderFixture.configuration(json) }
            json[key] = ["x": 1.5]
            #expect(throws: DecodingError.self, "\(key)") { try VocoderFixture.configuration(json) }
        }
    }
}
