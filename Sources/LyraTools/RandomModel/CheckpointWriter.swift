import Glibc
import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Writes a checkpoint of random weights in the published layout, for `make-tiny`.
public struct CheckpointWriter {
    private let directory: String
    private let preset: ModelPreset
    private let seed: UInt64
    private let created = CreatedPaths()

    public init(directory: String, preset: ModelPreset, seed: UInt64) {
        self.directory = directory
        self.preset = preset
        self.seed = seed
    }

    /// - Throws: `LyraError.io` if the directory exists and is not empty, or if a file cannot be written, in which case
    ///   all created files are removed; `.argument` for an invalid path.
    public func write() throws {
        try FileSystem.checkPath(directory)
        guard try FileSystem.entries(of: directory).isEmpty else {
            throw LyraError(.io, "\(directory): the directory is not empty; name an empty or a new directory")
        }
        do { try writeAll() } catch {
            created.remove()
            throw error
        }
    }

    private func writeAll() throws {
        // Building the networks requests every tensor, with the name and shape that loading will request.
        let main = RandomWeights(seed: seed, type: .bfloat16, recordsRequests: true)
        let tower = RandomWeights(seed: seed &+ 1, type: .bfloat16, recordsRequests: true)
        let vocoder = RandomWeights(seed: seed &+ 2, type: .float32, recordsRequests: true)
        let vision = RandomWeights(seed: seed &+ 10, type: .bfloat16, recordsRequests: true)
        let checkpoint = try preset.checkpoint(
            main: main, speechTower: tower, visionTower: vision, vocoder: vocoder)
        try preset.sound?.requestProjector(from: main, outputs: preset.language.hiddenSize)

        for folder in ["", "model_zoo/audio/whisper", "model_zoo/audio/vocoder", "model_zoo/vision/Qwen2VL_ViT"]
            + preset.adapters.map({ $0.name + "_lora" })
        {
            try created.directories.make(path(folder))
        }
        try writeText()
        try writeShards(main.requested)
        try writeTensors(tower.requested, "model_zoo/audio/whisper/model.safetensors")
        try writeTensors(vision.requested, "model_zoo/vision/Qwen2VL_ViT/model.safetensors")
        try writeTowerConfigurations()
        try writeSoundTower()
        for (index, adapter) in preset.adapters.enumerated() {
            try writeAdapter(adapter, checkpoint.decoder, seed: seed &+ 3 &+ UInt64(index))
        }
        try writeVocoder(vocoder.requested)
        // Last: until config.json exists, the directory is not a checkpoint.
        try writeConfiguration()
    }

    private func path(_ name: String) -> String { FileSystem.join(directory, name) }

    private func put(_ name: String, _ contents: String) throws {
        let file = try OutputFile(path: path(name))
        try Array(contents.utf8).withUnsafeBytes { try file.write($0, at: 0) }
        try file.commit()
        created.files.append(path(name))
    }

    private func put(json value: some Encodable, _ name: String) throws {
        try put(name, JSONText.encodeIndented(value) + "\n")
    }

    // MARK: Tensors

    private func writeTensors(_ tensors: [StoredTensor], _ name: String) throws {
        try tensors.write(safetensors: path(name))
        created.files.append(path(name))
    }

    /// Two shards with an index, as published.
    private func writeShards(_ tensors: [StoredTensor]) throws {
        let half = tensors.count / 2
        var map: [(tensor: String, shard: String)] = []
        for (number, shard) in [tensors[..<half], tensors[half...]].enumerated() {
            let name = "model-0000\(number + 1)-of-00002.safetensors"
            try writeTensors(Array(shard), name)
            for tensor in shard { map.append((tensor.name, name)) }
        }
        let total = tensors.reduce(0) { $0 + $1.bytes.count }
        try put(
            "model.safetensors.index.json",
            """
            {"metadata": {"total_size": \(total)},
             "weight_map": {
            \(map.map { "  \(JSONText.quoted($0.tensor)): \(JSONText.quoted($0.shard))" }.joined(separator: ",\n"))
             }}

            """)
    }

    private func writeAdapter(_ adapter: (name: String, rank: Int, alpha: Int), _ decoder: Decoder, seed: UInt64) throws
    {
        let source = RandomWeights(seed: seed, type: .bfloat16, recordsRequests: true)
        let folder = adapter.name + "_lora"
        // The matrices of the layers: norms and biases are no matrices.
        let matrices = decoder.parameters.compactMap { parameter -> (module: String, weight: Weight)? in
            guard case .weight(let weight) = parameter.value, parameter.path.hasPrefix("model.layers.") else {
                return nil
            }
            return (String(parameter.path.dropLast(".weight".count)), weight)
        }
        for (module, weight) in matrices {
            let name = "base_model.model." + module + ".lora_"
            _ = try source.tensor(name + "A.weight", [adapter.rank, weight.inputs])
            _ = try source.tensor(name + "B.weight", [weight.outputs, adapter.rank])
        }
        let targets = matrices.filter { $0.module.hasPrefix("model.layers.0.") }
            .compactMap { $0.module.split(separator: ".").last.map(String.init) }
        var settings = AdapterSettings(rank: adapter.rank, alpha: Double(adapter.alpha))
        settings.targetModules = targets
        let projector = RandomWeights(seed: seed &+ 100, type: .bfloat16, recordsRequests: true)
        try preset.speechProjector(from: projector, under: AdapterWriter.projectorPrefix)
        let writer = AdapterWriter(directory: path(folder), settings: settings, type: .bfloat16)
        try writer.write(
            source.requested.map { NewTensor($0.name, $0) },
            projector: projector.requested.map { tensor in
                NewTensor(String(tensor.name.dropFirst(AdapterWriter.projectorPrefix.count)), tensor)
            })
        created.files += AdapterWriter.files.map { path(folder + "/" + $0) }
    }

    private func writeTorch(_ tensors: [StoredTensor], under keys: [String], _ name: String) throws {
        try tensors.write(torch: path(name), under: keys)
        created.files.append(path(name))
    }

    private func writeSoundTower() throws {
        guard let sound = preset.sound, let file = preset.configuration.soundTower else { return }
        let source = RandomWeights(seed: seed &+ 11, type: .bfloat16, recordsRequests: true)
        try sound.request(from: source)
        try writeTorch(source.requested, under: [], file)
    }

    private func writeVocoder(_ tensors: [StoredTensor]) throws {
        try writeTorch(tensors.withWeightNorm(), under: ["generator"], "model_zoo/audio/vocoder/g_00500000")
        try put(json: preset.vocoder, "model_zoo/audio/vocoder/config.json")
    }

    // MARK: Text and configurations

    private func writeText() throws {
        let vocabulary = TinyVocabulary()
        func object(_ members: [(String, Int)]) -> String {
            "{" + members.map { "\(JSONText.quoted($0.0)): \($0.1)" }.joined(separator: ",\n ") + "}\n"
        }
        try put("vocab.json", object(vocabulary.tokens.enumerated().map { ($1, $0) }))
        try put("merges.txt", "#version: 0.2\n" + vocabulary.merges.map { "\($0) \($1)\n" }.joined())
        try put("added_tokens.json", object(vocabulary.added.map { ($0.text, $0.id) }))
        let end = vocabulary.id("<|im_end|>"), text = vocabulary.id("<|endoftext|>")
        try put(
            "generation_config.json",
            """
            {"bos_token_id": \(text), "eos_token_id": [\(end), \(text)], "pad_token_id": \(text), "do_sample": true,
             "temperature": 0.01, "top_k": 1, "top_p": 0.001}

            """)
    }

    private func writeTowerConfigurations() throws {
        let whisper = preset.whisper
        try put(
            "model_zoo/audio/whisper/config.json",
            """
            {"model_type": "whisper", "d_model": \(whisper.width), "encoder_layers": \(whisper.layers),
             "encoder_attention_heads": \(whisper.heads), "encoder_ffn_dim": \(whisper.inner),
             "num_mel_bins": \(whisper.mels), "max_source_positions": \(whisper.positions), \
            "activation_function": "gelu"}

            """)
        let vision = preset.vision
        try put(
            "model_zoo/vision/Qwen2VL_ViT/config.json",
            """
            {"model_type": "qwen2_vl_vision", "depth": \(vision.layers), "embed_dim": \(vision.width),
             "num_heads": \(vision.heads), "mlp_ratio": 4, "hidden_size": \(vision.outputWidth), \
            "hidden_act": "quick_gelu",
             "in_channels": 3, "patch_size": \(vision.patch), "temporal_patch_size": \(vision.temporalPatch),
             "spatial_merge_size": \(vision.merge)}

            """)
        try put(
            "model_zoo/vision/Qwen2VL_ViT/preprocessor_config.json",
            """
            {"image_processor_type": "Qwen2VLImageProcessor", "min_pixels": 3136, "max_pixels": 12845056,
             "patch_size": \(vision.patch), "temporal_patch_size": \(vision.temporalPatch), \
            "merge_size": \(vision.merge),
             "image_mean": [0.48145466, 0.4578275, 0.40821073], "image_std": [0.26862954, 0.26130258, 0.27577711]}

            """)
        try put(
            "model_zoo/audio/whisper/preprocessor_config.json",
            """
            {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": \(whisper.mels), "hop_length": 160,
             "n_fft": 400, "chunk_length": 30, "n_samples": 480000, "nb_max_frames": 3000, "sampling_rate": 16000}

            """)
    }

    private func writeConfiguration() throws {
        let language = preset.language, generator = preset.generator, vocabulary = TinyVocabulary()
        let sound = preset.sound.map {
            """
             "mm_audio_tower": "\(preset.configuration.soundTower ?? "")", "mm_audio_hidden_size": \($0.outputWidth),
             "mm_audio_projector_type": "linear",

            """
        }
        try put(
            "config.json",
            """
            {"architectures": ["Lyra2SQwen2VLForCausalLM"], "model_type": "Lyra_Qwen2VL_SpeechGenerator",
             "torch_dtype": "bfloat16", "hidden_act": "silu", "hidden_size": \(language.hiddenSize),
             "num_hidden_layers": \(language.layers), "num_attention_heads": \(language.heads),
             "num_key_value_heads": \(language.kvHeads), "intermediate_size": \(language.intermediateSize),
             "vocab_size": \(language.vocabularySize), "rms_norm_eps": 1e-06, "rope_theta": \(language.ropeTheta),
             "rope_scaling": {"type": "mrope", "mrope_section": \(language.mropeSections)},
             "max_position_embeddings": \(language.contextLength), "tie_word_embeddings": \(language.tiesEmbeddings),
             "bos_token_id": \(vocabulary.id("<|endoftext|>")), "eos_token_id": \(vocabulary.id("<|im_end|>")),
             "mm_vision_tower": "model_zoo/vision/Qwen2VL_ViT", "mm_projector_type": "identity",
             "mm_hidden_size": \(language.hiddenSize), "mm_use_mrope": false, "image_aspect_ratio": "qwen2vl",
            \(sound ?? "")\
             "mm_speech_tower": "model_zoo/audio/whisper", "mm_speech_projector_type": "simple_mlp",
             "mm_speech_hidden_size": \(preset.whisper.width), "speech_encoder_ds_rate": \(preset.downsampling),
             "speech_encoder_hidden_size": \(preset.whisper.width), "speech_norm": false,
             "speech_generator_type": "ctc",
             "ctc_decoder_config": "(\(generator.layers),\(generator.dim),\(generator.heads),\(generator.inner))",
             "ctc_upsample_factor": \(generator.upsampling), "unit_vocab_size": \(generator.units)}

            """)
    }
}

/// The paths that a writer has created so far, in order.
private final class CreatedPaths {
    var directories = NewDirectories()
    var files: [String] = []

    /// Removes the files, and the directories that are then empty.
    func remove() {
        for file in files { withSystemPath(file) { _ = unlink($0) } }
        directories.remove()
    }
}
