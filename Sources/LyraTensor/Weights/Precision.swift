/// How exactly products are computed whose weights are BF16, and attention.
///
/// Weights in blocks round the other factor to 8 bits in either case.
public enum Precision: String, Sendable, CaseIterable {
    /// In F32, with the weights where their file is mapped: the reference's numbers without its rounding.
    case exact
    /// BF16 matrices are copied into the order in which the fastest kernels read them, and the other factor is rounded to
    /// BF16 (the reference computes in FP16); so are queries, keys, values and weights of attention over many rows.
    case fast
}

extension Precision {
    /// As the kernels take it.
    var kernelFlag: Int32 { self == .fast ? 1 : 0 }
}
