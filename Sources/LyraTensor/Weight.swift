import CKernels

/// A matrix `[outputs, inputs]` of weights as a file stores it (BF16, F16 or F32), read in place by the kernels.
public struct Weight: @unchecked Sendable {
    public let outputs: Int
    public let inputs: Int
    let type: lk_type
    let base: UnsafeRawPointer
    private let owner: AnyObject

    /// Bytes as stored.
    public let byteCount: Int

    /// Takes the first axis of `stored` as outputs and all others together as inputs.
    ///
    /// - Throws: `LyraError.unsupported` for an element type that the kernels do not read, naming file and tensor.
    public init(_ stored: StoredTensor) throws {
        switch stored.type {
        case .float32: type = LK_F32
        case .float16: type = LK_F16
        case .bfloat16: type = LK_BF16
        default:
            throw LyraError(
                .unsupported,
                "\(stored.source): tensor \(stored.name) is \(stored.type.rawValue); weights must be F32, F16 or BF16")
        }
        outputs = stored.shape.first ?? 1
        inputs = stored.shape.dropFirst().reduce(1, *)
        guard outputs <= Int32.max, inputs <= Int32.max, let base = stored.bytes.baseAddress, !stored.bytes.isEmpty
        else {
            throw LyraError(
                .format, "\(stored.source): tensor \(stored.name) cannot be a weight of shape \(stored.shape)")
        }
        self.base = base
        owner = stored.owner
        byteCount = stored.bytes.count
    }

    /// Rows `range` of the matrix, where they lie: the queries of a matrix that holds queries, keys and values, say.
    ///
    /// - Throws: `LyraError.argument` if the range is not within the rows, or empty.
    public func rows(_ range: Range<Int>) throws -> Weight {
        guard range.lowerBound >= 0, range.upperBound <= outputs, !range.isEmpty else {
            throw LyraError(.argument, "rows \(range) of a matrix of \(outputs)")
        }
        return Weight(self, rows: range)
    }

    private init(_ whole: Weight, rows range: Range<Int>) {
        let rowBytes = whole.byteCount / whole.outputs
        (outputs, inputs, type, owner) = (range.count, whole.inputs, whole.type, whole.owner)
        base = whole.base + range.lowerBound * rowBytes
        byteCount = range.count * rowBytes
    }

    /// Shows some of the stored bytes: runs of 64 from all over the matrix, 16 at most.
    public func sample(_ body: (UnsafeRawBufferPointer) -> Void) {
        let length = min(byteCount, 64), runs = min(16, byteCount / length)
        for run in 0..<runs {
            let start = runs == 1 ? 0 : (byteCount - length) / (runs - 1) * run
            body(UnsafeRawBufferPointer(start: base + start, count: length))
        }
        withExtendedLifetime(owner) {}
    }

    /// Row `index` widened to floats: an embedding.
    ///
    /// - Parameter index: below `outputs`; the caller checks.
    public func copyRow(_ index: Int, to destination: UnsafeMutablePointer<Float>) {
        let size = type == LK_F32 ? 4 : 2
        lk_widen(destination, base + index * inputs * size, type, inputs)
        withExtendedLifetime(owner) {}
    }

    /// x · selfᵀ + bias. x: [rows, inputs] → [rows, outputs]
    public func multiply(_ x: Tensor, bias: [Float]? = nil) throws -> Tensor {
        try Tensor([x.rows, outputs]) { try multiply(x, into: $0, rowStride: outputs, bias: bias) }
    }

    /// The same into memory whose rows are `rowStride` floats apart; with `accumulate` added to what is there.
    public func multiply(
        _ x: Tensor, into y: UnsafeMutablePointer<Float>, rowStride: Int, bias: [Float]? = nil, accumulate: Bool = false
    ) throws {
        guard x.columns == inputs, bias.map({ $0.count == outputs }) ?? true else {
            throw LyraError(.format, "a matrix [\(outputs), \(inputs)] does not take rows of \(x.columns)")
        }
        let status = x.withValues { values in
            lk_linear(
                y, rowStride, values, inputs, x.rows, inputs, base, type, outputs, bias, accumulate ? 1 : 0)
        }
        withExtendedLifetime(owner) {}
        guard status == LK_OK else { throw LyraError(.memory, "no memory for a matrix product") }
    }
}

extension StoredTensor {
    /// All elements as floats.
    ///
    /// - Throws: `LyraError.unsupported` if they are not of a floating type.
    public func floats() throws -> [Float] {
        let kernel: lk_type
        switch type {
        case .float32: kernel = LK_F32
        case .float16: kernel = LK_F16
        case .bfloat16: kernel = LK_BF16
        case .float64:
            return (0..<count).map { Float(bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Double.self)) }
        default:
            throw LyraError(.unsupported, "\(source): tensor \(name) is \(type.rawValue); a floating type was expected")
        }
        return [Float](unsafeUninitializedCapacity: count) { buffer, written in
            if let destination = buffer.baseAddress, let bytes = bytes.baseAddress {
                lk_widen(destination, bytes, kernel, count)
            }
            written = count
        }
    }
}
