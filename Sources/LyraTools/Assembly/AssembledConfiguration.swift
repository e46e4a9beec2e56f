import LyraBase
import LyraModel

/// What an assembled checkpoint has, and its config.json, with the keys of the published release.
struct AssembledConfiguration {
    struct Speech {
        /// Width of the speech tower.
        var width: Int
        /// Positions that make one token.
        var group: Int
        /// Width of the projector's hidden layer.
        var inner = SpeechProjector.publishedInner
    }

    struct Sound {
        /// The tower's file in the checkpoint.
        var tower: String
        /// Width of its vectors.
        var width: Int
    }

    /// Places of the towers in the checkpoint. The reference tells towers by these names.
    static let visionTower = "model_zoo/vision/Qwen2VL_ViT"
    static let speechTower = "model_zoo/audio/whisper"
    /// `speech_encoder_ds_rate` of the published checkpoints: 300 tokens for 30 s.
    static let publishedGroup = 5

    var hasVision = false
    var speech: Speech?
    var hasFreshProjector = false
    var normalizesSpeech = false
    var sound: Sound?
    /// `mm_audio_projector_type`; nil if there is no sound projector.
    var soundProjectorKind: String?
    var hasVocoder = false
    /// Names of the adapters' directories.
    var adapters: [String] = []
    /// Special tokens that the language model's tokenizer lacked.
    var addedTokens: [String] = []

    /// The text of config.json.
    func json(_ language: LanguagePart) -> JSONValue {
        let decoder = language.configuration
        func number(_ value: Int) -> JSONValue { .number(Double(value)) }
        var members: [(String, JSONValue)] = [
            ("architectures", .array(["Lyra2SQwen2VLForCausalLM"])), ("model_type", "Lyra_Qwen2VL_SpeechGenerator"),
            ("torch_dtype", language.key("torch_dtype", "dtype") ?? "bfloat16"), ("hidden_act", "silu"),
            ("hidden_size", number(decoder.hiddenSize)), ("num_hidden_layers", number(decoder.layers)),
            ("num_attention_heads", number(decoder.heads)), ("num_key_value_heads", number(decoder.kvHeads)),
            ("intermediate_size", number(decoder.intermediateSize)), ("vocab_size", number(decoder.vocabularySize)),
            // The shortest decimal that reads as the same float.
            ("rms_norm_eps", .number(Double("\(decoder.rmsEpsilon)") ?? Double(decoder.rmsEpsilon))),
            ("rope_theta", .number(decoder.ropeTheta)),
        ]
        if !decoder.mropeSections.isEmpty {
            members.append(
                (
                    "rope_scaling",
                    .object([("type", "mrope"), ("mrope_section", .array(decoder.mropeSections.map(number)))])
                ))
        }
        members += [
            ("max_position_embeddings", number(decoder.contextLength)),
            ("tie_word_embeddings", .bool(decoder.tiesEmbeddings)),
        ]
        if let begin = language.key("bos_token_id") { members.append(("bos_token_id", begin)) }
        if let end = language.endToken { members.append(("eos_token_id", end)) }
        return .object(members + media(number(decoder.hiddenSize)))
    }

    private func media(_ hidden: JSONValue) -> [(String, JSONValue)] {
        var members: [(String, JSONValue)] = []
        if hasVision {
            members += [
                ("mm_vision_tower", .string(Self.visionTower)), ("mm_projector_type", "identity"),
                ("mm_hidden_size", hidden), ("mm_use_mrope", false), ("image_aspect_ratio", "qwen2vl"),
            ]
        }
        if let speech {
            let width = JSONValue.number(Double(speech.width))
            members += [
                ("mm_speech_tower", .string(Self.speechTower)), ("mm_speech_projector_type", "simple_mlp"),
                ("mm_speech_hidden_size", width), ("speech_encoder_ds_rate", .number(Double(speech.group))),
                ("speech_encoder_hidden_size", width), ("speech_norm", .bool(normalizesSpeech)),
                ("align_temperature", 0.06), ("align_type", "dtw"), ("align_norm", false), ("weight_lambda", 0.5),
            ]
            // The published release has no such key.
            if speech.inner != SpeechProjector.publishedInner {
                members.append(("speech_projector_hidden_size", .number(Double(speech.inner))))
            }
        }
        if let sound {
            members += [
                ("mm_audio_tower", .string(sound.tower)), ("mm_audio_hidden_size", .number(Double(sound.width))),
            ]
        }
        if let soundProjectorKind { members.append(("mm_audio_projector_type", .string(soundProjectorKind))) }
        return members + [("compress", false), ("compress_gap", 33), ("keep_rate", 1)]
    }

    /// A message for each part that is missing, and for what was made in its place.
    ///
    /// - Parameter seed: of the fresh speech projector
    func notes(seed: UInt64) -> [String] {
        var notes: [String] = []
        if !addedTokens.isEmpty {
            notes.append("the tokenizer lacked \(addedTokens.joined(separator: ", ")); they are added")
        }
        if !hasVision { notes.append("there is no vision tower: the checkpoint takes no images and videos") }
        if speech == nil { notes.append("there is no speech tower: the checkpoint takes no speech") }
        if hasFreshProjector {
            notes.append("the speech projector is fresh, from seed \(seed): stage 1 of the training is to train it")
        }
        if speech != nil {
            for (name, stage) in [("speech_lora", 2), ("long_speech_lora", 3)] where !adapters.contains(name) {
                notes.append("there is no adapter \(name): stage \(stage) of the training makes one")
            }
        }
        notes.append("there is no speech generator, so no spoken answers: stage 4 of the training makes one")
        if !hasVocoder { notes.append("there is no vocoder, which spoken answers need") }
        if sound == nil { notes.append("there is no sound tower: the checkpoint takes no sound other than speech") }
        if sound != nil, soundProjectorKind == nil {
            notes.append("there is no sound projector, which sound other than speech needs")
        }
        return notes
    }
}
