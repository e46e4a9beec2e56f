import CKernels
import LyraBase

/// What becomes of a product and its bias: y = it, y += it, y = GELU of it, it · ½(1 + erf(it / √2)), or quick GELU,
/// it · σ(1.702 it).
public enum Epilogue: Sendable {
    case store, accumulate, gelu, quickGelu

    var kernel: lk_epilogue {
        switch self {
        case .store: LK_STORE
        case .accumulate: LK_ACCUMULATE
        case .gelu: LK_GELU
        case .quickGelu: LK_QUICK_GELU
        }
    }
}

/// One product x · weightᵀ + bias, to be run beside others of the same x.
public struct WeightProduct {
    let weight: Weight
    let y: UnsafeMutablePointer<Float>
    let rowStride: Int
    let bias: Tensor?
    let epilogue: Epilogue

    /// - Parameter y: rows of `weight.outputs` floats, `rowStride` floats apart, that nobody else writes
    public init(
        _ weight: Weight, into y: UnsafeMutablePointer<Float>, rowStride: Int, bias: Tensor? = nil,
        epilogue: Epilogue = .store
    ) {
        (self.weight, self.y, self.rowStride, self.bias, self.epilogue) = (weight, y, rowStride, bias, epilogue)
    }

    /// Reads the bias; null if there is no bias.
    func withBias<R>(_ body: (UnsafePointer<Float>?) -> R) -> R {
        guard let bias else { return body(nil) }
        return bias.withValues { body($0) }
    }

    /// Runs all of them. Where all weights are packed, x is rounded once and threads go from one matrix to the next
    /// without waiting.
    ///
    /// - Parameter x: [rows, inputs]
    /// - Throws: `LyraError.format` if x or a bias does not fit, `.memory` if there is no room, `.missing` if OpenBLAS is
    ///   needed and not there, `.state` if the work was interrupted; y is then undefined.
    public static func run(_ products: [WeightProduct], of x: Tensor) throws {
        for product in products {
            let weight = product.weight
            guard x.columns == weight.inputs, product.bias.map({ $0.count == weight.outputs }) ?? true else {
                throw LyraError(
                    .format, "a matrix [\(weight.outputs), \(weight.inputs)] does not take rows of \(x.columns)")
            }
        }
        let (rows, columns) = (x.rows, x.columns)
        let status = x.withValues { values -> Int32 in
            guard products.allSatisfy(\.weight.isPacked) else {
                for product in products {
                    let status = product.weight.linear(product, values, rows: rows)
                    guard status == LK_OK else { return status }
                }
                return Int32(LK_OK)
            }
            return withKernelProducts(products[...], []) {
                lk_packed_linear($0, $0.count, values, columns, rows, columns)
            }
        }
        withExtendedLifetime(products) {}
        try checkKernel(status, "a matrix product")
    }

    /// All products as the kernels take them, while their biases stay where they are.
    private static func withKernelProducts<R>(
        _ products: ArraySlice<WeightProduct>, _ made: [lk_packed_product], _ body: ([lk_packed_product]) -> R
    ) -> R {
        guard let first = products.first else { return body(made) }
        return first.weight.withPacked(first) { withKernelProducts(products.dropFirst(), made + [$0], body) }
    }
}
