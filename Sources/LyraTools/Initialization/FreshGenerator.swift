import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// A speech generator before its training, for a checkpoint that has none: its numbers are those of `lyra initialize`
/// for the same sizes and the same seed.
package struct FreshGenerator: FreshSpeechGenerator {
    package let configuration: SpeechGeneratorConfiguration
    private let values: InitialValues

    /// - Parameters:
    ///   - configuration: sizes within `SpeechGeneratorConfiguration.Limits`
    ///   - language: the model whose hidden states the generator reads
    package init(_ configuration: SpeechGeneratorConfiguration, language: DecoderConfiguration, seed: UInt64) {
        self.configuration = configuration
        values = InitialValues(part: .main(language, configuration), seed: seed)
    }

    package func weights(precision: Precision) -> any WeightSource {
        RandomWeights(values, precision: precision, recordsRequests: false)
    }

    /// What a checkpoint that gets this generator needs beside the trained tensors: the generator's other tensors, and
    /// its keys in config.json.
    ///
    /// - Parameter generator: of these weights
    package func complete(_ changes: inout ModelChanges, generator: SpeechGenerator) {
        let trained = Set((changes.tensors[.main] ?? []).map(\.name))
        for parameter in generator.parameters {
            let (name, shape) = (CheckpointLoader.speechGeneratorPrefix + parameter.path, parameter.shape)
            guard !trained.contains(name) else { continue }
            changes.set(.main, NewTensor(name, shape) { [values] in try values(name, shape).reshaped(shape) })
        }
        changes.configuration += members
    }

    /// Members of config.json, as published; the last is lyra's own.
    private var members: [(key: String, value: JSONValue)] {
        func number(_ value: Int) -> JSONValue { .number(Double(value)) }
        let sizes = [configuration.layers, configuration.dim, configuration.heads, configuration.inner]
        return [
            ("speech_generator_type", "ctc"),
            ("ctc_decoder_config", .string("(" + sizes.map { "\($0)" }.joined(separator: ",") + ")")),
            ("ctc_upsample_factor", number(configuration.upsampling)), ("unit_vocab_size", number(configuration.units)),
            ("speech_generator_context_rows", number(configuration.contextRows)),
        ]
    }
}

extension SpeechGeneratorConfiguration {
    /// Number of the generator's parameters; `Int.max` on overflow.
    ///
    /// - Parameter hidden: width of the language model's hidden states
    package func parameterCount(hidden: Int) -> Int {
        func product(_ factors: Int...) -> Int { factors.reduce(1) { $0.saturatingMultiplying(by: $1) } }
        func sum(_ terms: Int...) -> Int { terms.reduce(0) { $0.saturatingAdding($1) } }
        // Queries, keys and values with biases, the output, three matrices of the MLP, two norms.
        let layer = sum(product(4, dim, dim), product(3, dim), product(3, dim, inner), product(2, dim))
        let outputs = units.saturatingAdding(1)
        return sum(product(layers, layer), product(hidden, dim), dim, product(dim, outputs), outputs)
    }
}
