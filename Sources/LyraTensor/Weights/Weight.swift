import CKernels
import LyraBase

/// A matrix `[outputs, inputs]` of weights.
///
/// Plain weights (BF16, F16 or F32) are read where the file is mapped. Packed weights (BF16, or GGUF's quantization
/// blocks) are copied into the layout that the fastest kernels read. Packed BF16 weights round the other factor to BF16
/// if it has many rows; packed quantization blocks round it to 8 bits, with one scale for every 32 values.
public struct Weight: @unchecked Sendable {
    public let outputs: Int
    public let inputs: Int
    let type: lk_type
    private let base: UnsafeRawPointer
    private let owner: AnyObject
    /// Index of this matrix's first row in the packed memory; nil for plain memory.
    private let packedRow: Int?

    /// Bytes that one product reads.
    public let byteCount: Int
    /// Precision of products whose gradient passes through the matrix, and of all products of a trainable one: packed
    /// matrices are `fast`, as in the forward pass.
    public let precision: Precision

    /// The gradient of a trainable matrix; nil for a frozen one.
    let node: GradientNode?
    /// Whether a gradient can reach the matrix.
    public var isTracked: Bool { node != nil }

    /// Takes the first axis of `stored` as outputs and all others together as inputs. Packs quantization blocks with
    /// the pool's threads and converts 8-bit floats to BF16; weights of any other type stay in the mapped file.
    ///
    /// - Throws: `LyraError.unsupported` with file and tensor for an element type that the kernels do not read;
    ///   `LyraError.memory` if there is no room for the packed weights.
    public init(_ stored: StoredTensor) throws {
        let stored = try stored.convertingFloat8()
        guard let type = stored.type.kernelType else {
            throw LyraError(
                .unsupported,
                "\(stored.source): tensor \(shown(stored.name)) is \(shown(stored.typeName)); weights must be F32, "
                    + "F16, BF16, F8_E4M3, F8_E5M2, Q8_0, Q4_0, Q4_K or Q6_K")
        }
        let outputs = stored.shape.first ?? 1
        let inputs = stored.shape.dropFirst().reduce(1) { $0.saturatingMultiplying(by: $1) }
        guard outputs > 0, outputs <= Int32.max, inputs <= Int32.max, let base = stored.bytes.baseAddress,
            !stored.bytes.isEmpty
        else {
            throw LyraError(
                .format,
                "\(stored.source): tensor \(shown(stored.name)) cannot be a weight with shape "
                    + "\(stored.shape.prefix(16))")
        }
        let plain = Weight(
            outputs: outputs, inputs: inputs, type: type, base: base, owner: stored.owner, packedRow: nil,
            byteCount: stored.bytes.count)
        guard stored.type.blockElements > 1 else {
            self = plain
            return
        }
        guard stored.type.canPack(inputs: inputs), stored.count == outputs * inputs else {
            throw LyraError(
                .format,
                "\(stored.source): tensor \(shown(stored.name)) of shape \(stored.shape.prefix(16)) has "
                    + "\(stored.bytes.count) bytes, which do not form rows of \(stored.type.rawValue) blocks")
        }
        self = try plain.packed()
    }

    private init(
        outputs: Int, inputs: Int, type: lk_type, base: UnsafeRawPointer, owner: AnyObject, packedRow: Int?,
        byteCount: Int, node: GradientNode? = nil, precision: Precision = .exact
    ) {
        (self.outputs, self.inputs, self.type, self.byteCount) = (outputs, inputs, type, byteCount)
        (self.base, self.owner, self.packedRow, self.node) = (base, owner, packedRow, node)
        self.precision = packedRow == nil ? precision : .fast
    }

    /// A trainable matrix, which shares the parameter's memory.
    init(parameter: TrainableParameter, precision: Precision) {
        let outputs = parameter.shape.first ?? 1, count = parameter.count
        self.init(
            outputs: outputs, inputs: outputs > 0 ? count / outputs : 0, type: LK_F32,
            base: UnsafeRawPointer(parameter.storage.base), owner: parameter.storage, packedRow: nil,
            byteCount: count * MemoryLayout<Float>.stride, node: parameter.node, precision: precision)
    }

    /// Whether the matrix is stored as floats that can be read in place.
    var isFloats: Bool { type == LK_F32 && !isPacked && Int(bitPattern: base) % MemoryLayout<Float>.alignment == 0 }

    /// Rows `range` as floats [range.count, inputs], in place where they are stored so. The pointer is valid only
    /// during the call.
    func withFloats<R>(rows range: Range<Int>, _ body: (UnsafePointer<Float>) throws -> R) throws -> R {
        guard isFloats else { return try dequantized(rows: range).withValues(body) }
        defer { withExtendedLifetime(owner) {} }
        return try body(base.assumingMemoryBound(to: Float.self) + range.lowerBound * inputs)
    }

    /// Packs rows that already have the kernels' element type.
    private func packed() throws -> Weight {
        let storage = try PackedStorage(byteCount: lk_packed_bytes(type, outputs, inputs))
        lk_pack(storage.base, base, type, outputs, inputs)
        withExtendedLifetime(owner) {}
        return Weight(
            outputs: outputs, inputs: inputs, type: type, base: storage.base, owner: storage, packedRow: 0,
            byteCount: storage.byteCount)
    }

    public var elementType: ElementType { ElementType.allCases.first { $0.kernelType == type } ?? .other }

    /// Whether the weights are packed in the kernels' layout.
    public var isPacked: Bool { packedRow != nil }

    /// The same weights in the form that products of this precision need: BF16 packed for `fast`, otherwise unchanged.
    ///
    /// - Throws: `LyraError.memory` if there is no room for the packed weights.
    public func prepared(for precision: Precision) throws -> Weight {
        guard precision == .fast, type == LK_BF16, !isPacked, ElementType.bfloat16.canPack(inputs: inputs) else {
            return self
        }
        return try packed()
    }

    /// Rows `range` of the matrix, sharing its memory: for example, the queries of a matrix that holds queries, keys
    /// and values.
    ///
    /// - Throws: `LyraError.argument` if the range is empty or outside the matrix.
    public func rows(_ range: Range<Int>) throws -> Weight {
        guard range.lowerBound >= 0, range.upperBound <= outputs, !range.isEmpty else {
            throw LyraError(.argument, "rows \(range) are outside a matrix of \(outputs) rows")
        }
        let rowBytes = byteCount / outputs
        Recording.list([node].compactMap(\.self))
        return Weight(
            outputs: range.count, inputs: inputs, type: type,
            base: isPacked ? base : base + range.lowerBound * rowBytes, owner: owner,
            packedRow: packedRow.map { $0 + range.lowerBound }, byteCount: range.count * rowBytes,
            node: node.map {
                GradientNode([range.count, inputs], .made(by: .view(of: $0, rows: range, columns: 0..<inputs)))
            }, precision: precision)
    }

    /// Calls `body` with at most 16 samples of 64 stored bytes, spread over the whole matrix. If the matrix begins
    /// inside a panel of packed rows, that whole panel is included.
    public func sample(_ body: (RawSpan) -> Void) {
        let stored = storedBytes, length = min(stored.count, 64), samples = min(16, stored.count / length)
        for sample in 0..<samples {
            let start = samples == 1 ? 0 : (stored.count - length) / (samples - 1) * sample
            body(UnsafeRawBufferPointer(start: base + stored.lowerBound + start, count: length).bytes)
        }
        withExtendedLifetime(owner) {}
    }

    /// Byte range of the matrix's rows, relative to `base`.
    private var storedBytes: Range<Int> {
        guard let packedRow else { return 0..<byteCount }
        func bytes(_ rows: Int) -> Int { lk_packed_bytes(type, rows, inputs) }
        return bytes(packedRow + 1) - bytes(1)..<bytes(packedRow + outputs)
    }

    /// Rows as floats, for example embeddings. An interruption leaves some of them out; the caller checks for it.
    ///
    /// - Parameter indices: below `outputs`; the caller checks.
    func copyRows(_ indices: [Int32], to destination: UnsafeMutablePointer<Float>) {
        indices.withUnsafeBufferPointer { indices in
            var rows = lk_rows(packed: isPacked ? 1 : 0, first: packedRow ?? 0, indices: indices.baseAddress)
            lk_gather_rows(destination, base, type, inputs, &rows, indices.count)
        }
        withExtendedLifetime(owner) {}
    }

    /// The most rows that keep more than BF16's mantissa beside packed weights.
    public static var fewRows: Int { Int(LK_FEW_ROWS) }

    /// x · selfᵀ + bias with plain or packed weights. → the kernel's status
    func multiply(
        _ x: UnsafePointer<Float>, _ xStride: Int, rows: Int, _ kind: RowKind = .together,
        into y: UnsafeMutablePointer<Float>, _ yStride: Int, _ bias: UnsafePointer<Float>?, _ epilogue: lk_epilogue
    ) -> Int32 {
        if precision == .fast, isTracked, lk_bf16_is_fast() != 0 {
            return multiplyInBF16(x, xStride, rows: rows, into: y, yStride, bias, epilogue)
        }
        guard !isPacked else {
            let run = kind == .apart ? lk_packed_linear_apart : lk_packed_linear
            return withUnsafePointer(to: packedProduct(y, yStride, bias, epilogue)) {
                run($0, 1, x, xStride, rows, inputs)
            }
        }
        return lk_linear(y, yStride, x, xStride, rows, inputs, base, type, outputs, bias, epilogue)
    }

    /// The same for a trainable matrix, whose values are packed anew for each product.
    private func multiplyInBF16(
        _ x: UnsafePointer<Float>, _ xStride: Int, rows: Int, into y: UnsafeMutablePointer<Float>, _ yStride: Int,
        _ bias: UnsafePointer<Float>?, _ epilogue: lk_epilogue
    ) -> Int32 {
        let count = lk_packed_bytes(LK_BF16, outputs, inputs) / MemoryLayout<Float>.stride
        guard let packed = try? FloatStorage(count: count) else { return Int32(LK_NO_MEMORY) }
        let floats = lk_factor(data: base.assumingMemoryBound(to: Float.self), ld: inputs, transposed: 1)
        lk_bf16_pack(packed.base, floats, outputs, inputs)
        withExtendedLifetime(owner) {}
        var product = lk_packed_product(
            y: y, ldy: yStride,
            weights: lk_packed_weights(panels: packed.base, type: LK_BF16, first: 0, n: outputs), bias: bias,
            epilogue: epilogue)
        defer { withExtendedLifetime(packed) {} }
        return lk_packed_linear(&product, 1, x, xStride, rows, inputs)
    }

    /// The packed product in the form that the kernels take.
    func packedProduct(
        _ y: UnsafeMutablePointer<Float>, _ yStride: Int, _ bias: UnsafePointer<Float>?, _ epilogue: lk_epilogue
    ) -> lk_packed_product {
        lk_packed_product(
            y: y, ldy: yStride,
            weights: lk_packed_weights(panels: base, type: type, first: packedRow ?? 0, n: outputs), bias: bias,
            epilogue: epilogue)
    }
}
