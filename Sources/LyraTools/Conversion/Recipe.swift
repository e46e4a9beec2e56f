import LyraBase
import LyraModel
import LyraTensor

/// The types of a model's tensors after conversion to one file.
///
/// No recipe quantizes norms, biases, positional embeddings, the first layers and convolutions of towers, or a matrix
/// whose rows are not whole quantization blocks. A convolution of the vocoder is a matrix [first axis, other axes].
public struct Recipe: Sendable, Equatable {
    public let name: String
    /// Description for the user.
    public let summary: String
    /// Type of most matrices of the language model.
    let matrices: ElementType
    /// Type of the embeddings and the head, where rounding matters more.
    let vocabulary: ElementType
    /// Type of `attn_v` and `ffn_down` in the layers that llama.cpp's mixes choose; nil for no mix.
    let sensitive: ElementType?
    /// Type of the matrices of towers, projectors and the speech generator.
    let parts: ElementType
    let adapters: ElementType
    /// Type of the vocoder's convolutions and matrices.
    let vocoder: ElementType
    /// llama.cpp's number of the recipe (`llama_ftype`).
    let fileType: UInt32

    /// Everything F32: lossless, except that F64 is rounded. A BF16 checkpoint doubles in size.
    public static let f32 = Recipe(
        name: "f32", summary: "everything F32: lossless (F64 is rounded)", matrices: .float32,
        vocabulary: .float32, sensitive: nil, parts: .float32, adapters: .float32, vocoder: .float32, fileType: 0)

    /// All matrices BF16, but the vocoder's F32: lossless for matrices stored in BF16. Matrices in F16 or F32, such as
    /// a tower's, are rounded.
    public static let bf16 = Recipe(
        name: "bf16", summary: "matrices BF16: lossless for weights stored in BF16", matrices: .bfloat16,
        vocabulary: .bfloat16, sensitive: nil, parts: .bfloat16, adapters: .bfloat16, vocoder: .float32, fileType: 32)

    /// All matrices Q8_0, but adapters' BF16; also the vocoder's convolutions.
    public static let q8_0 = Recipe(
        name: "q8_0", summary: "matrices Q8_0: half of BF16, with next to no difference", matrices: .q8_0,
        vocabulary: .q8_0, sensitive: nil, parts: .q8_0, adapters: .bfloat16, vocoder: .q8_0, fileType: 7)

    /// The language model's matrices Q4_K, with Q6_K where it matters most; other parts as in `q8_0`.
    public static let q4_k_m = Recipe(
        name: "q4_k_m", summary: "language model Q4_K, and Q6_K where it matters; the rest Q8_0",
        matrices: .q4_k, vocabulary: .q6_k, sensitive: .q6_k, parts: .q8_0, adapters: .bfloat16, vocoder: .q8_0,
        fileType: 15)

    /// The language model's matrices Q4_0, the simplest 4-bit type, but embeddings and head Q6_K; other parts as in
    /// `q8_0`.
    public static let q4_0 = Recipe(
        name: "q4_0", summary: "language model Q4_0, less exact than Q4_K; the rest Q8_0", matrices: .q4_0,
        vocabulary: .q6_k, sensitive: nil, parts: .q8_0, adapters: .bfloat16, vocoder: .q8_0, fileType: 2)

    /// All recipes, the recommended one first.
    public static let all = [q4_k_m, q8_0, q4_0, bf16, f32]

    /// The recipe named `name`.
    ///
    /// - Throws: `LyraError.argument` if there is none.
    public init(named name: String) throws {
        guard let recipe = Recipe.all.first(where: { $0.name == name }) else {
            let names = Recipe.all.map(\.name).joined(separator: ", ")
            throw LyraError(.argument, "there is no recipe \"\(name)\"; there are \(names)")
        }
        self = recipe
    }

    private init(
        name: String, summary: String, matrices: ElementType, vocabulary: ElementType, sensitive: ElementType?,
        parts: ElementType, adapters: ElementType, vocoder: ElementType, fileType: UInt32
    ) {
        (self.name, self.summary, self.fileType) = (name, summary, fileType)
        (self.matrices, self.vocabulary, self.sensitive) = (matrices, vocabulary, sensitive)
        (self.parts, self.adapters, self.vocoder) = (parts, adapters, vocoder)
    }

    // MARK: Choosing

    /// The type of a tensor in the file.
    ///
    /// - Parameters:
    ///   - name: name in the file
    ///   - layers: number of layers of the language model
    func type(of name: String, _ tensor: StoredTensor, in part: ModelPart, layers: Int) -> ElementType {
        guard self != .f32 else { return .float32 }
        if part == .vocoder { return vocoderType(tensor.shape) }
        guard tensor.shape.count == 2, !Self.isPosition(name), let row = tensor.shape.last else {
            return unquantized(tensor, name, part)
        }
        switch part {
        case .adapter: return adapters
        case .main where name.hasPrefix("token_embd.") || name.hasPrefix("output."):
            return fitting(vocabulary, row) ?? unquantized(tensor, name, part)
        case .main:
            guard let layer = OneFileNames.layer(name) else {
                return fitting(parts, row) ?? unquantized(tensor, name, part)
            }
            let mixed = Self.isSensitive(layer.module, layer.index, layers) ? sensitive ?? matrices : matrices
            return fitting(mixed, row) ?? unquantized(tensor, name, part)
        default: return fitting(parts, row) ?? unquantized(tensor, name, part)
        }
    }

    /// F32 for biases, gains and what else has one number a row; F16 for rows that are not whole quantization blocks.
    private func vocoderType(_ shape: [Int]) -> ElementType {
        let row = shape.dropFirst().reduce(1) { $0.saturatingMultiplying(by: $1) }
        guard row > 1 else { return .float32 }
        return fitting(vocoder, row) ?? .float16
    }

    /// `type`, or else Q8_0, if its quantization blocks fill a row exactly; nil if neither does.
    private func fitting(_ type: ElementType, _ row: Int) -> ElementType? {
        row % type.blockElements == 0 ? type : row % ElementType.q8_0.blockElements == 0 ? .q8_0 : nil
    }

    /// F32 for vectors of the language model, as llama.cpp expects, for quantized tensors and for F64; BF16 for 8-bit
    /// floats; BF16 for what has several axes in towers and is F32, where matrices are quantized; otherwise the stored
    /// type.
    private func unquantized(_ tensor: StoredTensor, _ name: String, _ part: ModelPart) -> ElementType {
        let isLanguage = part == .main && (OneFileNames.layer(name) != nil || name.hasPrefix("output_norm."))
        if isLanguage, tensor.shape.count < 2 { return .float32 }
        if tensor.type.isFloat8 { return .bfloat16 }
        let isTowers = [.speechTower, .visionTower, .soundTower].contains(part)
        if isTowers, tensor.shape.count > 1, tensor.type == .float32, parts.blockElements > 1 { return .bfloat16 }
        return tensor.type.blockElements > 1 || tensor.type == .float64 ? .float32 : tensor.type
    }

    private static func isPosition(_ name: String) -> Bool {
        name.contains("embed_positions") || name.contains("pos_embed")
    }

    /// Whether a mix keeps more bits for a matrix: `attn_v` and `ffn_down` in the first and last eighth of the layers
    /// and in every third layer between (llama.cpp, `use_more_bits`).
    private static func isSensitive(_ module: String, _ layer: Int, _ layers: Int) -> Bool {
        guard ["attn_v", "ffn_down"].contains(module) else { return false }
        let eighth = layers / 8
        return layer < eighth || layer >= 7 * layers / 8 || (layer - eighth) % 3 == 2
    }
}
