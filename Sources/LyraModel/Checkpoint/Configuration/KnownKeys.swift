import LyraFormats

/// All keys of the published configuration files, and other keys of the same formats that change the numbers.
///
/// Sources: the files of Lyra_Mini_3B and Lyra_Base_9B, Qwen2-VL, Whisper, fairseq's CodeHiFiGAN and PEFT; the
/// configuration classes of transformers 4 and 5.
enum KnownKeys {
    /// Keys of every transformers configuration.
    private static let common = KeyTable(
        [
            (
                """
                _name_or_path architectures auto_map torch_dtype dtype transformers_version use_cache
                output_attentions output_hidden_states return_dict id2label label2id num_labels problem_type
                finetuning_task task_specific_params tokenizer_class prefix torchscript use_bfloat16 tf_legacy_loss
                tie_encoder_decoder is_encoder_decoder is_decoder cross_attention_hidden_size add_cross_attention
                chunk_size_feed_forward attn_implementation _attn_implementation _attn_implementation_autoset
                _commit_hash experts_implementation bos_token_id pad_token_id sep_token_id decoder_start_token_id
                initializer_range attention_dropout hidden_dropout dropout classifier_dropout gradient_checkpointing
                return_dict_in_generate output_scores use_return_dict encoder_no_repeat_ngram_size
                num_return_sequences remove_invalid_values num_beam_groups
                """, .irrelevant
            ),
            (
                """
                quantization_config compression_config quantization pruned_heads
                """, .only([])
            ),
        ])

    /// rope_scaling and rope_parameters. Keys beside a plain rope type have no effect.
    private static let rope: KeyTable = {
        var table = KeyTable(
            [
                ("rope_theta mrope_section", .used), ("type rope_type", .only(["default", "mrope"])),
                ("partial_rotary_factor", .only([1])), ("mrope_interleaved", .only([false])),
                (
                    """
                    factor original_max_position_embeddings attention_factor beta_fast beta_slow short_factor
                    long_factor low_freq_factor high_freq_factor mscale mscale_all_dim finetuned truncate
                    """, .irrelevant
                ),
            ])
        table.isRepeated = true
        return table
    }()

    /// Keys of other language models that Qwen2 lacks: a file that sets one describes another network.
    private static let otherNetworks = KeyTable(
        [
            ("partial_rotary_factor rotary_pct rotary_percent", .only([1])),
            ("attention_bias qkv_bias", .only([true])),
            (
                """
                mlp_bias use_qk_norm qk_layernorm use_dynamic_ntk use_logn_attn alibi parallel_attn
                use_parallel_residual scale_attn_by_inverse_layer_idx attention_output_gate rope_interleaved
                rope_interleave interleaved_rope use_mup use_bidirectional_attention
                """, .only([false])
            ),
            ("is_causal", .only([true])),
            (
                """
                logit_scale logits_scaling embedding_multiplier residual_multiplier lm_head_multiplier scale_emb
                key_multiplier
                """, .only([1])
            ),
            (
                """
                final_logit_softcapping attn_logit_softcapping attention_multiplier query_pre_attn_scalar attn_scale
                scale_depth dim_model_base clip_qkv dual_chunk_attention_config attention_chunk_size no_rope_layers
                no_rope_layer_interval sliding_window_pattern rope_local_base_freq rotary_dim kv_lora_rank
                q_lora_rank position_embedding_type num_experts num_local_experts n_routed_experts
                moe_intermediate_size layer_norm_eps layer_norm_epsilon norm_epsilon num_kv_shared_layers
                attention_sink_size
                """, .only([])
            ),
        ])

    /// Sampling keys of older transformers files, with the values that mean "off".
    private static let search = KeyTable(
        [
            (
                """
                num_beams length_penalty typical_p encoder_repetition_penalty
                """, .noted([1])
            ),
            (
                """
                no_repeat_ngram_size diversity_penalty epsilon_cutoff eta_cutoff min_p top_h penalty_alpha
                min_length
                """, .noted([0])
            ),
            (
                "early_stopping renormalize_logits token_healing", .noted([false])
            ),
            (
                """
                max_new_tokens min_new_tokens max_time stop_strings exponential_decay_length_penalty
                """, .noted([])
            ),
            ("max_length", .noted([20])), ("guidance_scale", .only([1])),
            (
                """
                bad_words_ids suppress_tokens begin_suppress_tokens forced_bos_token_id forced_eos_token_id
                forced_decoder_ids sequence_bias force_words_ids constraints watermarking_config
                """, .only([])
            ),
            (
                """
                low_memory dola_layers cache_implementation cache_config use_mtp
                """, .irrelevant
            ),
        ])

    /// Keys of Qwen2's decoder, in config.json or under `text_config`.
    private static let language = KeyTable(
        [
            (
                """
                hidden_size num_hidden_layers num_attention_heads num_key_value_heads intermediate_size vocab_size
                rms_norm_eps rope_theta tie_word_embeddings max_position_embeddings eos_token_id head_dim
                use_sliding_window sliding_window max_window_layers layer_types
                """, .used
            ),
            ("hidden_act", .only(["silu", "swish"])),
            (
                "model_type",
                .only([
                    "Lyra_Qwen2VL_SpeechGenerator", "Lyra_Qwen2VL", "Lyra2SQwen2VL", "qwen2_vl", "qwen2_vl_text",
                    "qwen2",
                    "qwen2_5_vl", "qwen2_5_vl_text",
                ])
            ),
            ("rope_scaling rope_parameters", .inside(rope)),
            // lyra finds media tokens by name.
            (
                """
                image_token_id video_token_id audio_token_id vision_start_token_id vision_end_token_id
                vision_token_id pretraining_tp
                """, .irrelevant
            ),
        ],
        including: [common, otherNetworks])

    /// A checkpoint's config.json.
    static let main = KeyTable(
        [
            (
                """
                mm_speech_tower mm_vision_tower mm_audio_tower mm_projector_type speech_encoder_ds_rate speech_norm
                speech_projector_hidden_size ctc_decoder_config ctc_upsample_factor unit_vocab_size
                speech_generator_context_rows compress_gap keep_rate align_temperature
                """, .used
            ),
            ("speech_generator_type", .only(["ctc"])), ("mm_speech_projector_type", .only(["simple_mlp"])),
            ("mm_audio_projector_type", .only(["linear"] + (1...9).map { .string("mlp\($0)x_gelu") })),
            // generation_config.json holds the sampling options.
            ("do_sample temperature top_k top_p repetition_penalty", .irrelevant),
            ("text_config", .inside(KeyTable([], including: [language]))),
            (
                """
                vision_config audio_config compress align_type align_norm weight_lambda
                ctc_loss_weight speech_encoder_hidden_size mm_speech_hidden_size mm_audio_hidden_size mm_hidden_size
                mm_use_mrope mm_vision_select_feature mm_vision_select_layer mm_patch_merge_type mm_resampler_type
                mm_use_im_patch_token mm_use_im_start_end mm_projector_lr mm_vision_tower_lr mm_speech_tower_lr
                mm_tunable_parts mm_spatial_pool_mode mm_spatial_pool_stride mm_newline_position use_mm_proj
                freeze_mm_mlp_adapter freeze_backbone freeze_speech_generator tune_mm_mlp_adapter
                tune_speech_adapter tune_speech_generator_only tune_speech_projector unfreeze_mm_vision_tower
                unfreeze_mm_speech_tower image_aspect_ratio image_grid_pinpoints image_crop_resolution
                image_split_resolution image_grid image_global image_size_aux optimize_vision_tower
                optimize_vision_tower_aux pos_skipping_range use_pos_skipping tokenizer_model_max_length
                tokenizer_padding_side stream_buffer_size lora_enable speech_encoder_type speech_encoder
                add_faster_video faster_token_stride add_time_instruction force_sample projector_type
                """, .irrelevant
            ),
        ], including: [search, language])

    /// generation_config.json.
    static let generation = KeyTable(
        [
            (
                """
                do_sample temperature top_k top_p repetition_penalty eos_token_id
                """, .used
            ),
            (
                """
                _from_model_config chat_format max_matching_ngram_size prompt_lookup_num_tokens num_assistant_tokens
                num_assistant_tokens_schedule assistant_confidence_threshold assistant_early_exit
                assistant_lookbehind target_lookbehind is_assistant output_logits disable_compile compile_config
                prefill_chunk_size return_legacy_cache model_type trust_remote_code
                """, .irrelevant
            ),
        ], including: [common, search])

    /// PEFT's adapter_config.json. `AdapterConfiguration` itself rejects bad values of the keys that it reads.
    static let adapter = KeyTable(
        [
            (
                """
                r lora_alpha use_rslora use_dora fan_in_fan_out bias peft_type rank_pattern alpha_pattern
                modules_to_save ensure_weight_tying
                """, .used
            ),
            ("lora_bias use_qalora use_bdlora", .only([false])),
            // Other methods change the base matrices that the adapter was trained with.
            ("init_lora_weights", .only([true, false, "gaussian", "eva", "orthogonal"])),
            (
                """
                layer_replication target_parameters trainable_token_indices arrow_config
                alora_invocation_tokens use_arrow monteclora_config kasa_config velora_config
                """, .only([])
            ),
            (
                """
                task_type lora_dropout inference_mode target_modules exclude_modules base_model_name_or_path
                auto_mapping revision layers_pattern layers_to_transform loftq_config eva_config corda_config
                lora_ga_config megatron_config megatron_core runtime_config peft_version qalora_group_size
                model_type compress_gap keep_rate compress
                """, .irrelevant
            ),
        ])

    /// config.json of a Whisper model, of which lyra runs the encoder.
    static let whisper = KeyTable(
        [
            (
                """
                d_model encoder_layers encoder_attention_heads encoder_ffn_dim num_mel_bins max_source_positions
                """, .used
            ),
            ("activation_function", .only(["gelu"])), ("scale_embedding", .only([false])),
            ("model_type", .only(["whisper", "whisper_encoder"])),
            (
                """
                vocab_size decoder_layers decoder_attention_heads decoder_ffn_dim decoder_layerdrop
                encoder_layerdrop activation_dropout init_std max_target_positions eos_token_id
                begin_suppress_tokens suppress_tokens forced_decoder_ids use_weighted_layer_sum classifier_proj_size
                apply_spec_augment mask_time_prob mask_time_length mask_time_min_masks mask_feature_prob
                mask_feature_length mask_feature_min_masks median_filter_width tie_word_embeddings num_hidden_layers
                max_length hidden_size num_attention_heads alignment_heads lang_ids lang_to_id task_to_id
                is_multilingual no_timestamps_token_id prev_sot_token_id max_initial_timestamp_index
                return_timestamps use_cross_attention encoder forced_bos_token_id forced_eos_token_id
                """, .irrelevant
            ),
        ], including: [common])

    /// preprocessor_config.json of a Whisper model.
    static let features = KeyTable(
        [
            (
                """
                feature_size hop_length n_fft n_samples chunk_length nb_max_frames sampling_rate
                """, .used
            ),
            ("dither padding_value", .only([0])), ("padding_side", .only(["right"])),
            ("do_normalize", .only([false])), ("feature_extractor_type", .only(["WhisperFeatureExtractor"])),
            // mel_filters: older files store the table that follows from the other keys.
            (
                """
                processor_class return_attention_mask mel_filters return_tensors device auto_map
                """, .irrelevant
            ),
        ])

    /// config.json of Qwen2-VL's vision tower, or `vision_config` of a complete model.
    static let vision = KeyTable(
        [
            (
                """
                depth embed_dim num_heads mlp_ratio hidden_size patch_size temporal_patch_size spatial_merge_size
                hidden_act in_channels in_chans
                """, .used
            ),
            ("spatial_patch_size tie_word_embeddings", .irrelevant),
            ("model_type", .only(["qwen2_vl_vision", "qwen2_vl"])),
            ("qkv_bias", .only([true])), ("layer_norm_eps norm_eps rms_norm_eps", .only([1e-6])),
            ("rope_theta", .only([10_000])),
            (
                "rope_parameters rope_scaling",
                .inside(
                    KeyTable([
                        ("rope_theta", .only([10_000])), ("rope_type type", .only(["axial", "default"])),
                        ("partial_rotary_factor", .only([1, 0.5])),
                    ]))
            ),
            (
                """
                fullatt_block_indexes window_size out_hidden_size tokens_per_second intermediate_size
                deepstack_visual_indexes num_position_embeddings num_grid_per_side
                """, .only([])
            ),
        ], including: [common])

    /// preprocessor_config.json of Qwen2-VL.
    static let images = KeyTable(
        [
            (
                """
                patch_size temporal_patch_size merge_size min_pixels max_pixels rescale_factor image_mean
                image_std
                """, .used
            ),
            // transformers rejects size limits given as sides, too.
            (
                "size",
                .inside(
                    KeyTable([
                        ("shortest_edge longest_edge min_pixels max_pixels", .used),
                        ("height width max_height max_width", .only([])),
                    ]))
            ),
            ("do_convert_rgb do_normalize do_rescale do_resize", .only([true])),
            ("do_center_crop do_pad", .only([false])), ("crop_size pad_size", .only([])),
            // 3 is Pillow's number for bicubic.
            ("resample", .only([3, "bicubic"])),
            (
                "image_processor_type",
                .only(["Qwen2VLImageProcessor", "Qwen2VLImageProcessorFast", "Qwen2VLImageProcessorPil"])
            ),
            (
                """
                processor_class data_format input_data_format default_to_square device disable_grouping
                return_tensors auto_map video_processor_type image_seq_length
                """, .irrelevant
            ),
        ])

    /// config.json of fairseq's CodeHiFiGAN.
    static let vocoder = KeyTable(
        [
            (
                """
                resblock upsample_rates upsample_kernel_sizes upsample_initial_channel resblock_kernel_sizes
                resblock_dilation_sizes num_embeddings embedding_dim model_in_dim code_hop_size sampling_rate
                """, .used
            ),
            (
                "dur_predictor_params",
                .inside(
                    KeyTable([
                        ("encoder_embed_dim var_pred_hidden_dim var_pred_kernel_size", .used),
                        ("var_pred_dropout", .irrelevant),
                    ]))
            ),
            ("f0 multispkr multi_speaker use_f0", .only([false])),
            (
                """
                f0_quant_num_bin num_speakers embedder_params speaker_embedding
                """, .only([0, 1])
            ),
            (
                """
                num_gpus batch_size learning_rate adam_b1 adam_b2 lr_decay seed segment_size num_mels num_freq n_fft
                hop_size win_size dur_prediction_weight fmin fmax fmax_loss fmax_for_loss num_workers dist_config
                input_training_file input_validation_file f0_stats f0_normalize f0_feats f0_median f0_interp
                f0_vq_params code_vq_params lambda_commit lambda_commit_code checkpoint_interval sample_rate
                """, .irrelevant
            ),
        ])
}
