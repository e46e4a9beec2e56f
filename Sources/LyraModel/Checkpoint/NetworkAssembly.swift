import LyraBase
import LyraMedia
import LyraTensor
import LyraText

/// The ingredients of a model without files: configurations, a tokenizer, and a weight source for each network.
package struct NetworkAssembly {
    package var configuration: LyraConfiguration
    package var generator: SpeechGeneratorConfiguration
    package var whisper: WhisperConfiguration
    package var vision: VisionConfiguration
    package var vocoder: VocoderConfiguration
    package var tokenizer: Tokenizer
    /// Weights of the language model, the speech projector and the speech generator.
    package var main: any WeightSource
    package var speechTower: any WeightSource
    package var visionTower: any WeightSource
    package var vocoderWeights: any WeightSource

    package init(
        configuration: LyraConfiguration, generator: SpeechGeneratorConfiguration, whisper: WhisperConfiguration,
        vision: VisionConfiguration, vocoder: VocoderConfiguration, tokenizer: Tokenizer, main: any WeightSource,
        speechTower: any WeightSource, visionTower: any WeightSource, vocoderWeights: any WeightSource
    ) {
        (self.configuration, self.generator, self.tokenizer) = (configuration, generator, tokenizer)
        (self.whisper, self.vision, self.vocoder) = (whisper, vision, vocoder)
        (self.main, self.vocoderWeights) = (main, vocoderWeights)
        (self.speechTower, self.visionTower) = (speechTower, visionTower)
    }

    /// Builds the networks. Each requests the same tensor names and shapes as from a checkpoint's files.
    package func checkpoint() throws -> Checkpoint {
        let decoder = try Decoder.assembled(configuration.language, main)
        let projector = try SpeechProjector(
            main.under("model.mm_speech_projector."), width: whisper.width, configuration: configuration)
        let speech = SpeechNetworks(
            mel: try LogMelSpectrogram(MelConfiguration(melCount: whisper.mels)),
            encoder: try WhisperEncoder(speechTower.under("encoder."), whisper, progress: {}), projector: projector,
            adapterProjectors: [], downsampling: configuration.speechDownsampling)
        let speechGenerator = try SpeechGenerator(
            main.under("speech_generator."), generator, language: configuration.language, progress: {})
        let visionNetworks = VisionNetworks(
            preparation: ImagePreparation(), encoder: try VisionEncoder(visionTower, vision, progress: {}))
        return Checkpoint(
            configuration: configuration, decoder: decoder, tokenizer: tokenizer,
            generationDefaults: GenerationDefaults(), adapters: [], speechNetworks: .present(speech),
            visionNetworks: .present(visionNetworks),
            soundNetworks: .absent(LyraError(.missing, "this model of random weights takes no sound")),
            generator: speechGenerator,
            vocoder: .present(try Vocoder(configuration: vocoder, weights: vocoderWeights)), inventory: [])
    }
}

extension Decoder {
    /// Builds a language model from `weights`.
    package static func assembled(
        _ configuration: DecoderConfiguration, _ weights: any WeightSource
    ) throws -> Decoder {
        try Decoder(weights, configuration, progress: {})
    }

    /// A matrix that an adapter can update.
    package struct AdaptableMatrix {
        package let layer: Int
        /// The module's name in a layer: "self_attn.q_proj".
        package let module: String
        package let inputs: Int
        package let outputs: Int
    }

    /// Every matrix that an adapter can update, layer by layer.
    package var adaptableMatrices: [AdaptableMatrix] {
        layers.indices.flatMap { layer in
            DecoderLayer.adaptable.map { module, path in
                let weight = layers[layer][keyPath: path].weight
                return AdaptableMatrix(layer: layer, module: module, inputs: weight.inputs, outputs: weight.outputs)
            }
        }
    }
}

extension WeightSource {
    /// Requests every tensor of a speech projector under `prefix`.
    ///
    /// - Parameter width: output width of the speech tower
    package func requestSpeechProjector(under prefix: String, width: Int, _ configuration: LyraConfiguration) throws {
        _ = try SpeechProjector(under(prefix), width: width, configuration: configuration)
    }

    /// Requests every tensor of a linear sound projector under `prefix`.
    package func requestSoundProjector(under prefix: String, inputs: Int, outputs: Int) throws {
        _ = try SoundProjector(random: self, under: prefix, inputs: inputs, outputs: outputs)
    }
}
