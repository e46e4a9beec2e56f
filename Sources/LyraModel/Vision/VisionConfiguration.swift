import LyraBase

/// The vision tower's keys of a Qwen2-VL config.json: at the top level of a tower's own file, under `vision_config` for
/// a complete model. Missing keys get the published values.
public struct VisionConfiguration: Decodable, Sendable {
    public var width: Int
    public var layers: Int
    public var heads: Int
    /// Width of the MLP's hidden layer.
    public var inner: Int
    /// Width of the output tokens, which is the language model's width.
    public var outputWidth: Int
    /// Side of a patch in pixels.
    public var patch: Int
    /// Number of frames in a patch.
    public var temporalPatch: Int
    /// Number of patches along a token's side.
    public var merge: Int

    public var headDim: Int { width / heads }
    /// Width of the concatenated patches that make one token.
    public var mergedWidth: Int { width * merge * merge }

    enum CodingKeys: String, CodingKey {
        case vision_config, depth, embed_dim, num_heads, mlp_ratio, hidden_size, patch_size, temporal_patch_size
        case spatial_merge_size, hidden_act, in_channels, in_chans
    }

    public init(from decoder: any Swift.Decoder) throws {
        let outer = try decoder.container(keyedBy: CodingKeys.self)
        let container =
            outer.contains(.vision_config)
            ? try outer.nestedContainer(keyedBy: CodingKeys.self, forKey: .vision_config) : outer
        func value(_ key: CodingKeys, _ published: Int) throws -> Int {
            try container.decodeIfPresent(Int.self, forKey: key) ?? published
        }
        width = try value(.embed_dim, 1280)
        layers = try value(.depth, 32)
        heads = try value(.num_heads, 16)
        outputWidth = try container.decode(Int.self, forKey: .hidden_size)
        patch = try value(.patch_size, 14)
        temporalPatch = try value(.temporal_patch_size, 2)
        merge = try value(.spatial_merge_size, 2)
        let ratio = try container.decodeIfPresent(Double.self, forKey: .mlp_ratio) ?? 4
        let activation = try container.decodeIfPresent(String.self, forKey: .hidden_act) ?? "quick_gelu"
        let channels = try container.decodeIfPresent(Int.self, forKey: .in_channels) ?? value(.in_chans, 3)
        guard activation == "quick_gelu", channels == 3, ratio > 0, ratio <= 1024, (1...1 << 16).contains(width) else {
            throw DecodingError.dataCorruptedError(
                forKey: .hidden_act, in: container,
                debugDescription: "a vision tower of width \(width) with \(channels) channels, mlp_ratio \(ratio) and "
                    + "\(activation) is not supported; 3 channels and quick_gelu are")
        }
        inner = Int(Double(width) * ratio)
    }

    public init(width: Int, layers: Int, heads: Int, outputWidth: Int) {
        (self.width, self.layers, self.heads, self.outputWidth) = (width, layers, heads, outputWidth)
        (inner, patch, temporalPatch, merge) = (4 * width, 14, 2, 2)
    }

    /// Derives the configuration of a tower without a config.json from its tensor shapes. In all published towers a
    /// head is 80 wide.
    ///
    /// A tensor without elements can claim any size, so sizes are bounded before they are used.
    /// - Throws: `LyraError.missing` if the shapes are not sufficient.
    init(shapesOf tower: TensorTable) throws {
        func shape(_ name: String) -> [Int] { tower.shape(of: name) ?? [] }
        let (embedding, fc1) = (shape("patch_embed.proj.weight"), shape("blocks.0.mlp.fc1.weight"))
        let (merger1, merger2) = (shape("merger.mlp.0.weight"), shape("merger.mlp.2.weight"))
        guard embedding.count == 5, embedding[1] == 3, (1...1 << 16).contains(embedding[0]), embedding[0] % 80 == 0,
            fc1.count == 2, merger1.count == 2, merger2.count == 2,
            let merge = (1...8).first(where: { $0 * $0 * embedding[0] == merger1[0] })
        else {
            throw LyraError(
                .missing,
                "\(tower.origin): the vision tower's config.json was not found, and the tensor shapes do not "
                    + "determine it")
        }
        let layers = (0..<1024).first { tower.shape(of: "blocks.\($0).mlp.fc1.weight") == nil } ?? 1024
        self.init(width: embedding[0], layers: layers, heads: embedding[0] / 80, outputWidth: merger2[0])
        (inner, temporalPatch, patch, self.merge) = (fc1[0], embedding[2], embedding[3], merge)
        try validate(tower.origin)
    }

    func validate(_ source: String) throws {
        let bounds = Bounds(source)
        try bounds.check("embed_dim", width, 4...1 << 16)
        try bounds.check("depth", layers, 1...1024)
        try bounds.check("num_heads", heads, 1...4096)
        try bounds.check("embed_dim · mlp_ratio", inner, 1...1 << 20)
        try bounds.check("hidden_size", outputWidth, 1...1 << 20)
        try bounds.check("patch_size", patch, 1...256)
        try bounds.check("temporal_patch_size", temporalPatch, 1...16)
        try bounds.check("spatial_merge_size", merge, 1...8)
        try bounds.require(
            width % heads == 0 && headDim % 4 == 0, "embed_dim must be a multiple of four times num_heads")
    }
}
