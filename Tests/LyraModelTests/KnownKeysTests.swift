import Foundation
import LyraFormats
import LyraBase
import TestSupport
import Testing

@testable import LyraModel

/// Every key of a configuration file is used, known to be irrelevant, or refused by name; none is ignored silently.
@Suite struct KnownKeysTests {
    /// The keys of the published files.
    private static let published: [(file: String, table: KeyTable, keys: String)] = [
        (
            "Lyra_Mini_3B, Lyra_Base_9B: config.json", KnownKeys.main,
            """
            _name_or_path align_norm align_temperature align_type architectures attention_dropout bos_token_id compress
            compress_gap ctc_decoder_config ctc_loss_weight ctc_upsample_factor eos_token_id freeze_mm_mlp_adapter
            hidden_act hidden_size image_aspect_ratio image_crop_resolution image_grid_pinpoints image_split_resolution
            image_token_id initializer_range intermediate_size keep_rate max_position_embeddings max_window_layers
            mm_audio_hidden_size mm_audio_projector_type mm_audio_tower mm_hidden_size mm_patch_merge_type
            mm_projector_lr mm_projector_type mm_resampler_type mm_speech_hidden_size mm_speech_projector_type
            mm_speech_tower mm_tunable_parts mm_use_im_patch_token mm_use_im_start_end mm_use_mrope
            mm_vision_select_feature mm_vision_select_layer mm_vision_tower mm_vision_tower_lr model_type
            num_attention_heads num_hidden_layers num_key_value_heads pos_skipping_range rms_norm_eps rope_scaling
            rope_theta sliding_window speech_encoder_ds_rate speech_encoder_hidden_size speech_generator_type
            speech_norm tie_word_embeddings tokenizer_model_max_length tokenizer_padding_side torch_dtype
            transformers_version tune_mm_mlp_adapter tune_speech_adapter tune_speech_generator_only
            unfreeze_mm_vision_tower unit_vocab_size use_cache use_mm_proj use_pos_skipping use_sliding_window
            video_token_id vision_config vision_end_token_id vision_start_token_id vision_token_id vocab_size
            weight_lambda
            """
        ),
        (
            "Qwen2-VL-2B and 7B, also as transformers 5 writes them: config.json", KnownKeys.main,
            """
            architectures attention_dropout bos_token_id eos_token_id vision_start_token_id vision_end_token_id
            vision_token_id image_token_id video_token_id hidden_act hidden_size initializer_range intermediate_size
            max_position_embeddings max_window_layers model_type num_attention_heads num_hidden_layers
            num_key_value_heads rms_norm_eps rope_theta sliding_window tie_word_embeddings torch_dtype
            transformers_version use_cache use_sliding_window vision_config rope_scaling vocab_size text_config
            rope_parameters layer_types dtype pad_token_id head_dim
            """
        ),
        (
            "Qwen2-VL: vision_config", KnownKeys.vision,
            """
            depth embed_dim mlp_ratio num_heads in_chans in_channels hidden_size patch_size spatial_merge_size
            spatial_patch_size temporal_patch_size hidden_act initializer_range model_type rope_parameters dtype
            torch_dtype
            """
        ),
        (
            "Qwen2-VL: preprocessor_config.json", KnownKeys.images,
            """
            min_pixels max_pixels patch_size temporal_patch_size merge_size image_mean image_std image_processor_type
            processor_class do_convert_rgb do_normalize do_rescale do_resize resample rescale_factor size
            """
        ),
        (
            "whisper-large-v3 and -turbo: config.json", KnownKeys.whisper,
            """
            _name_or_path activation_dropout activation_function apply_spec_augment architectures attention_dropout
            begin_suppress_tokens bos_token_id classifier_proj_size d_model decoder_attention_heads decoder_ffn_dim
            decoder_layerdrop decoder_layers decoder_start_token_id dropout encoder_attention_heads encoder_ffn_dim
            encoder_layerdrop encoder_layers eos_token_id init_std is_encoder_decoder mask_feature_length
            mask_feature_min_masks mask_feature_prob mask_time_length mask_time_min_masks mask_time_prob max_length
            max_source_positions max_target_positions median_filter_width model_type num_hidden_layers num_mel_bins
            pad_token_id scale_embedding torch_dtype transformers_version use_cache use_weighted_layer_sum vocab_size
            forced_decoder_ids suppress_tokens
            """
        ),
        (
            "whisper-large-v3 and -turbo: preprocessor_config.json", KnownKeys.features,
            """
            chunk_length feature_extractor_type feature_size hop_length n_fft n_samples nb_max_frames padding_side
            padding_value processor_class return_attention_mask sampling_rate dither mel_filters
            """
        ),
        (
            "mHuBERT's unit HiFi-GAN: config.json", KnownKeys.vocoder,
            """
            resblock num_gpus batch_size learning_rate adam_b1 adam_b2 lr_decay seed upsample_rates
            upsample_kernel_sizes upsample_initial_channel resblock_kernel_sizes resblock_dilation_sizes num_embeddings
            embedding_dim model_in_dim segment_size code_hop_size f0 num_mels num_freq n_fft hop_size win_size
            sampling_rate dur_prediction_weight dur_predictor_params fmin fmax fmax_for_loss num_workers dist_config
            """
        ),
        (
            "Lyra, Qwen2-VL: generation_config.json", KnownKeys.generation,
            """
            attn_implementation bos_token_id do_sample eos_token_id pad_token_id repetition_penalty temperature top_k
            top_p transformers_version _from_model_config
            """
        ),
        (
            "Lyra: adapter_config.json", KnownKeys.adapter,
            """
            alpha_pattern auto_mapping base_model_name_or_path bias fan_in_fan_out inference_mode init_lora_weights
            layer_replication layers_pattern layers_to_transform loftq_config lora_alpha lora_dropout megatron_config
            megatron_core modules_to_save peft_type r rank_pattern revision target_modules task_type use_dora use_rslora
            corda_config eva_config exclude_modules lora_bias qalora_group_size target_parameters
            trainable_token_indices use_qalora peft_version
            """
        ),
    ]

    @Test func everyKeyOfThePublishedFilesHasARule() {
        for (file, table, keys) in Self.published {
            for key in keys.split(whereSeparator: \.isWhitespace) {
                #expect(table.rules[String(key)] != nil, "\(file): \(key)")
            }
        }
    }

    @Test(arguments: ["a", "b"]) func aFileWithPublishedKeysOpensWithoutANote(_ name: String) throws {
        var notes: [String] = []
        var options = CheckpointOptions()
        options.note = { notes.append($0) }
        _ = try CheckpointCopy(name).open(options)
        #expect(notes == [])
    }

    @Test func anUnknownKeyIsNotedAndNotRefused() throws {
        let copy = try CheckpointCopy("a")
        try copy.edit("lyra/config.json", "{", "{\"some_new_key\": 7,", first: true)
        try copy.edit("lyra/generation_config.json", "{", "{\"num_beams\": 4,")
        var notes: [String] = []
        var options = CheckpointOptions()
        options.note = { notes.append($0) }
        _ = try copy.open(options)
        #expect(notes.count == 2)
        #expect(notes.contains(copy.model + "/config.json has a key that lyra does not know: some_new_key"))
        #expect(notes.contains { $0.contains("generation_config.json: num_beams is 4") })
    }

    @Test(arguments: [
        #""use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 4"#,
        #""use_sliding_window": true, "sliding_window": 4096, "max_window_layers": 0"#,
        #""layer_types": ["full_attention", "linear_attention"]"#,
        #""layer_types": ["sliding_attention"], "use_sliding_window": true, "sliding_window": 16"#,
        #""head_dim": 32"#, #""quantization_config": {"quant_method": "awq", "bits": 4}"#,
        #""quantization_config": {"quant_method": "fp8"}"#, #""attention_bias": false"#, #""mlp_bias": true"#,
        #""partial_rotary_factor": 0.5"#, #""logits_scaling": 8"#, #""final_logit_softcapping": 30"#,
        #""num_experts": 8"#, #""dual_chunk_attention_config": {"chunk_size": 8}"#, #""suppress_tokens": [7]"#,
        #""rope_parameters": {"rope_type": "yarn", "factor": 4}"#,
        #""rope_parameters": {"full_attention": {"rope_type": "llama3"}}"#,
        #""text_config": {"rope_scaling": {"type": "dynamic", "factor": 2}}"#,
        #""text_config": {"rope_parameters": {"rope_type": "longrope"}}"#,
        #""text_config": {"rope_parameters": {"rope_type": "default", "partial_rotary_factor": 0.25}}"#,
        #""text_config": {"head_dim": 8}"#, #""text_config": {"hidden_act": "gelu"}"#,
        #""text_config": {"use_sliding_window": true, "sliding_window": 9, "max_window_layers": 0}"#,
    ]) func unsupportedSettingsAreRefused(_ keys: String) throws {
        let copy = try CheckpointCopy("a")
        try copy.edit("lyra/config.json", "{", "{\(keys),", first: true)
        expect(.unsupported, copy.model + "/config.json", open: copy)
    }

    /// A reader that takes such a value for true, or for absent, would compute something else.
    @Test(arguments: [
        #""use_sliding_window": 1, "sliding_window": 8, "max_window_layers": 0"#, #""use_sliding_window": "true""#,
        #""head_dim": "32""#, #""head_dim": 16.5"#, #""layer_types": "sliding_attention""#,
        #""max_window_layers": "0", "use_sliding_window": true, "sliding_window": 8"#,
        #""rope_theta": 1, "rope_theta": 2"#, #""a": {"b": 1, "b": 1}"#,
        #""rope_scaling": {"type": "yarn"}, "rope_scaling": {"type": "default"}"#,
    ])
    func valuesOfWrongTypesAndRepeatedKeysAreRefused(_ keys: String) throws {
        let text = Array("{\(keys)}".utf8)
        let error = #expect(throws: LyraError.self) {
            try ConfigurationChecks.main(
                text.withUnsafeBytes { try JSONValue($0, source: "config.json") }, "config.json", note: { _ in })
        }
        #expect(error?.code == .format)
        #expect(error?.message.hasPrefix("config.json: ") == true)
    }

    @Test func refusalsNameKeyAndValue() throws {
        for (file, old, new, parts) in [
            ("lyra/config.json", "\"silu\"", "\"gelu\"", ["hidden_act", "\"gelu\""]),
            ("lyra/config.json", "\"type\": \"mrope\"", "\"type\": \"linear\"", ["rope_scaling.type", "\"linear\""]),
            ("lyra/config.json", "\"ctc\"", "\"ar\"", ["speech_generator_type", "\"ar\""]),
            (
                "lyra/config.json", "{", "{\"quantization_config\": {\"quant_method\": \"gptq\"},",
                ["quantization_config", "\"gptq\""]
            ),
            ("lyra/config.json", "{", "{\"head_dim\": 32,", ["head_dim", "32", "16"]),
            (
                "lyra/config.json", "{",
                "{\"use_sliding_window\": true, \"sliding_window\": 8, \"max_window_layers\": 2,",
                ["use_sliding_window", "2", "8"]
            ),
            ("lyra/generation_config.json", "{", "{\"bad_words_ids\": [[7]],", ["bad_words_ids"]),
            (
                "lyra/speech_lora/adapter_config.json", "{", "{\"init_lora_weights\": \"pissa_niter_4\",",
                ["init_lora_weights", "pissa"]
            ),
            ("lyra/speech_lora/adapter_config.json", "{", "{\"layer_replication\": [[0, 4]],", ["layer_replication"]),
            (
                "model_zoo/audio/whisper-tiny/config.json", "\"gelu\"", "\"gelu_new\"",
                ["activation_function", "gelu_new"]
            ),
            (
                "model_zoo/audio/whisper-tiny/config.json", "\"scale_embedding\": false", "\"scale_embedding\": true",
                ["scale_embedding"]
            ),
            (
                "model_zoo/audio/whisper-tiny/config.json", "{",
                "{\"quantization_config\": {\"quant_method\": \"bitsandbytes\"},", ["bitsandbytes"]
            ),
            (
                "model_zoo/audio/whisper-tiny/preprocessor_config.json", "\"dither\": 0.0", "\"dither\": 0.1",
                ["dither", "0.1"]
            ),
            (
                "model_zoo/audio/whisper-tiny/preprocessor_config.json", "\"right\"", "\"left\"",
                ["padding_side", "left"]
            ),
            (
                "model_zoo/vision/Qwen2VL_tiny_ViT/config.json", "\"rope_theta\": 10000.0", "\"rope_theta\": 5000.0",
                ["rope_theta", "5000"]
            ),
            ("model_zoo/vision/Qwen2VL_tiny_ViT/config.json", "\"axial\"", "\"yarn\"", ["rope_type", "yarn"]),
            (
                "model_zoo/vision/Qwen2VL_tiny_ViT/config.json", "\"qwen2_vl_vision\"", "\"qwen2_5_vl\"",
                ["model_type", "qwen2_5_vl"]
            ),
            (
                "model_zoo/vision/Qwen2VL_tiny_ViT/preprocessor_config.json", "\"resample\": 3", "\"resample\": 2",
                ["resample", "2"]
            ),
            (
                "model_zoo/vision/Qwen2VL_tiny_ViT/preprocessor_config.json", "\"do_normalize\": true",
                "\"do_normalize\": false", ["do_normalize", "false"]
            ),
            ("model_zoo/audio/vocoder/config.json", "{", "{\"multispkr\": \"_\",", ["multispkr"]),
            ("model_zoo/audio/vocoder/config.json", "{", "{\"f0\": true,", ["f0", "true"]),
        ] as [(String, String, String, [String])] {
            let copy = try CheckpointCopy("a")
            try copy.edit(file, old, new, first: true)
            let error = #expect(throws: LyraError.self) { try copy.open() }
            #expect(error?.code == .unsupported, "\(file): \(new): \(error?.message ?? "")")
            for part in parts + [copy.root + "/" + file] {
                #expect(error?.message.contains(part) == true, "\(part): \(error?.message ?? "")")
            }
        }
    }

    private func language(_ json: String) throws -> DecoderConfiguration {
        let sizes = """
            "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 8, "vocab_size": 9
            """
        let text = json.replacingOccurrences(of: "SIZES", with: sizes)
        return try Array(text.utf8).withUnsafeBytes {
            try JSONText.decode(LyraConfiguration.self, from: $0, source: "config.json").language
        }
    }

    @Test(
        arguments: [
            // transformers 4 and 5, both nested, and an object for each type of layer
            #"{SIZES, "hidden_size": 64, "rope_theta": 5000.0, "#
                + #""rope_scaling": {"type": "mrope", "mrope_section": [2, 3, 3]}}"#,
            #"{SIZES, "hidden_size": 64, "#
                + #""rope_parameters": {"rope_type": "default", "rope_theta": 5000.0, "mrope_section": [2, 3, 3]}}"#,
            #"{"text_config": {SIZES, "hidden_size": 64, "rope_theta": 5000, "#
                + #""rope_scaling": {"mrope_section": [2, 3, 3]}}}"#,
            #"{"hidden_size": 64, "text_config": {SIZES, "#
                + #""rope_parameters": {"rope_theta": 5000, "mrope_section": [2, 3, 3]}}}"#,
            #"{SIZES, "hidden_size": 64, "rope_theta": 5000, "text_config": {"hidden_size": 64, "#
                + #""rope_parameters": {"rope_theta": 5e3, "mrope_section": [2, 3, 3]}}}"#,
            #"{SIZES, "hidden_size": 64, "#
                + #""rope_parameters": {"full_attention": {"rope_theta": 5000, "mrope_section": [2, 3, 3]}}}"#,
            #"{SIZES, "hidden_size": 64, "text_config": null, "#
                + #""rope_parameters": {"rope_theta": 5000, "mrope_section": [2, 3, 3]}, "rope_scaling": null}"#,
        ] as [String]) func ropeSettingsAreReadInEveryPlace(_ json: String) throws
    {
        let language = try language(json)
        #expect(language.ropeTheta == 5000 && language.mropeSections == [2, 3, 3])
        #expect(language.hiddenSize == 64 && language.layers == 2 && language.vocabularySize == 9)
    }

    @Test func tiedEmbeddingsAreReadInBothPlaces() throws {
        #expect(try language(#"{SIZES, "hidden_size": 64, "tie_word_embeddings": true}"#).tiesEmbeddings)
        #expect(
            try language(#"{"text_config": {SIZES, "hidden_size": 64, "tie_word_embeddings": true}}"#).tiesEmbeddings)
        #expect(try !language(#"{"text_config": {SIZES, "hidden_size": 64}}"#).tiesEmbeddings)
    }

    @Test(arguments: [
        (#"{SIZES, "hidden_size": 64, "rope_theta": 1e6, "rope_parameters": {"rope_theta": 5000}}"#, "rope_theta"),
        (#"{SIZES, "hidden_size": 64, "rope_theta": 1e6, "text_config": {"rope_theta": 5000}}"#, "rope_theta"),
        (
            #"{SIZES, "hidden_size": 64, "tie_word_embeddings": true, "text_config": {"tie_word_embeddings": false}}"#,
            "tie_word"
        ),
        (#"{SIZES, "hidden_size": 64, "text_config": {"hidden_size": 32}}"#, "hidden_size"),
    ]) func contradictionsAreRefused(_ json: String, _ key: String) throws {
        let error = #expect(throws: LyraError.self) { _ = try language(json) }
        #expect(error?.code == .format && error?.message.contains(key) == true, "\(error?.message ?? "")")
    }

    @Test func aSlidingWindowThatNoLayerUsesIsAccepted() throws {
        for keys in [
            #""use_sliding_window": false, "sliding_window": 4096, "max_window_layers": 0"#,
            #""use_sliding_window": true, "sliding_window": 32768, "max_window_layers": 28"#,
            #""use_sliding_window": true, "sliding_window": null, "max_window_layers": 0"#,
            #""layer_types": ["full_attention"], "head_dim": 16, "attention_bias": true, "quantization_config": null"#,
        ] {
            let copy = try CheckpointCopy("a")
            try copy.edit("lyra/config.json", "{", "{\(keys),", first: true)
            _ = try copy.open()
        }
    }

    @Test func aConfigurationOfMegabytesIsRefused() throws {
        let copy = try CheckpointCopy("a")
        try copy.edit(
            "lyra/config.json", "{", "{\"a\": [" + String(repeating: "1,", count: 1 << 19) + "1],", first: true)
        expect(.format, copy.model + "/config.json", "1048576", open: copy)
    }

    // MARK: GGUF

    @Test(arguments: [
        ("qwen2vl.rope.dimension_count", GGUFValue.uint32(8)), ("qwen2vl.attention.key_length", .uint32(32)),
        ("qwen2vl.attention.causal", .bool(false)), ("qwen2vl.expert_count", .uint32(8)),
        ("qwen2vl.final_logit_softcapping", .float32(30)), ("qwen2vl.rope.scaling.type", .string("yarn")),
        ("qwen2vl.rope.scaling.factor", .float32(4)), ("qwen2vl.rope.scale_linear", .float32(2)),
        ("general.type", .string("adapter")), ("qwen2vl.rope.dimension_sections", .int32s([2, 2, 2, 2])),
    ]) func keysOfLlamaThatChangeTheNumbersAreRefused(_ key: String, _ value: GGUFValue) throws {
        let file = try OneFile(Golden.path("a") + "/lyra", .bf16, scope: .language).changed { $0[key] = value }
        let error = #expect(throws: LyraError.self) { _ = try file.open() }
        #expect(error?.code == .unsupported, "\(error?.message ?? "")")
        #expect(error?.message.contains(key.hasPrefix("qwen2vl.rope.scal") ? "qwen2vl.rope.scaling" : key) == true)
    }

    @Test func factorsOfFrequenciesAreRefusedUnlessTheyAreOne() throws {
        let one = try OneFile(Golden.path("a") + "/lyra", .bf16, scope: .language)
        _ = try one.adding("rope_freqs.weight", [1, 1, 1, 1, 1, 1, 1, 1]).open()
        for (name, values) in [
            ("rope_freqs.weight", [1, 1, 1, 1, 1, 1, 1, 8]), ("rope_factors_long.weight", [1]), ("output.bias", [0]),
            ("blk.0.attn_q_norm.weight", [1]),
        ] as [(String, [Float])] {
            let error = #expect(throws: LyraError.self) { _ = try one.adding(name, values).open() }
            #expect(error?.code == .unsupported && error?.message.contains(name) == true, "\(error?.message ?? "")")
        }
    }
}
