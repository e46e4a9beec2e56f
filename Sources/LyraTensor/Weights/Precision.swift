/// Precision of attention and of products with BF16 weights.
///
/// Products with quantized weights round the other factor to 8 bits at either precision.
public enum Precision: String, Sendable, CaseIterable {
    /// F32, with weights read from the mapped file: the reference's arithmetic without its rounding.
    case exact
    /// BF16 matrices are packed for the fastest kernels. In products of many rows the other factor is rounded to BF16
    /// (the reference computes in FP16). Attention over many rows rounds queries, keys, values and attention weights to
    /// BF16.
    case fast
}

extension Precision {
    var kernelFlag: Int32 { self == .fast ? 1 : 0 }
}
