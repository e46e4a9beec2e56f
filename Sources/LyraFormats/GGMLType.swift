import LyraTensor

/// The codes of tensor types in a GGUF file (ggml, docs/gguf.md, `ggml_type`).
extension ElementType {
    /// The code of this type; nil when GGUF has no such type.
    var ggml: UInt32? {
        switch self {
        case .float32: 0
        case .float16: 1
        case .q4_0: 2
        case .q8_0: 8
        case .q4_k: 12
        case .q6_k: 14
        case .int8: 24
        case .int16: 25
        case .int32: 26
        case .int64: 27
        case .float64: 28
        case .bfloat16: 30
        case .uint8, .bool, .float8E4M3, .float8E5M2, .other: nil
        }
    }

    /// The type with this code; nil when lyra does not read it.
    init?(ggml code: UInt32) {
        guard let type = Self.allCases.first(where: { $0.ggml == code }) else { return nil }
        self = type
    }

    /// Types that GGUF files may hold and lyra does not read, for messages.
    static let otherGGMLTypes: [UInt32: String] = [
        3: "Q4_1", 6: "Q5_0", 7: "Q5_1", 9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 13: "Q5_K", 15: "Q8_K", 16: "IQ2_XXS",
        17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S", 20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M",
        34: "TQ1_0", 35: "TQ2_0", 39: "MXFP4",
    ]
}
