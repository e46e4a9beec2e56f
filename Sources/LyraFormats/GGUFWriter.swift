/// Writes a GGUF file, version 3, whose tensors are announced first and then come one at a time, whole or in pieces.
///
/// The file appears under its name only with `finish()`; a writer that fails or is let go before leaves nothing behind.
/// Room for all of it is set aside at the start, so that a disk that is too small says so before hours of work.
///
/// The tensors lie in the order in which they are announced, each filled up to the alignment, as ggml's reader wants
/// them. That reader also takes no name of more than 63 bytes and no tensor without elements; lyra's takes both.
public final class GGUFWriter {
    /// Where tensors begin if a file does not say: at multiples of this.
    public static let usualAlignment = 32
    /// The most axes that a tensor may have in a GGUF file.
    public static let axisLimit = 4
    /// The key under which a file says its alignment.
    static let alignmentKey = "general.alignment"

    private let output: OutputFile
    private var layout: TensorLayout
    /// Where each announced tensor begins in the file.
    private let offsets: [Int]

    /// Creates the file, sets room aside, and writes all of it but the tensors.
    ///
    /// - Parameters:
    ///   - metadata: Keys and values, in this order; keys are ASCII. `general.alignment` is added where it is needed.
    ///   - tensors: All tensors that will be written, with shapes as everywhere in lyra: the innermost axis last.
    ///   - alignment: Tensors begin at multiples of this: a power of two up to 1 MiB.
    /// - Throws: `.io` when the file cannot be created or the disk has not enough room for it, with the bytes needed
    ///   and free; `.argument` when a name is there twice or no name, a shape has no size, or the alignment is none;
    ///   `.unsupported` for U8 and BOOL, which GGUF does not have, and for more than four axes.
    public convenience init(
        path: String, metadata: [(key: String, value: GGUFValue)], tensors: [TensorSpec],
        alignment: Int = GGUFWriter.usualAlignment
    ) throws {
        let plan = try GGUFPlan(path: path, metadata: metadata, tensors: tensors, alignment: alignment)
        try self.init(output: OutputFile(path: path), plan: plan)
    }

    /// Writes to a file that is open already.
    init(output: OutputFile, plan: GGUFPlan) throws {
        self.output = output
        layout = plan.layout
        offsets = plan.offsets
        try output.reserve(plan.fileSize)
        try plan.header.withUnsafeBytes { try output.write($0, at: 0) }
        // What is between tensors is skipped and reads as zeros; behind the last one nothing else would write them.
        try [UInt8](repeating: 0, count: plan.trailing).withUnsafeBytes {
            try output.write($0, at: plan.fileSize - plan.trailing)
        }
    }

    /// Writes the bytes of one announced tensor; the order does not matter.
    ///
    /// - Throws: `.argument` when it was not announced, is written twice, or has another size; `.io` when the system
    ///   refuses, for example on a full disk: nothing stays then, and the writer takes no more.
    public func write(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
        let index = try layout.take(name, byteCount: bytes.count)
        try output.write(bytes, at: offsets[index])
    }

    /// Writes the next bytes of one announced tensor, one that is too large to be in memory at once. Pieces of several
    /// tensors may alternate; of an empty tensor one empty piece is expected.
    ///
    /// - Throws: `.argument` when it was not announced, is complete already, or has fewer bytes left; `.io` as `write`.
    public func append(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
        let (index, offset) = try layout.takePart(name, byteCount: bytes.count)
        try output.write(bytes, at: offsets[index] + offset)
    }

    /// Completes the file and gives it its name.
    ///
    /// - Throws: `.state` when a tensor or a part of one is still to come; `.io` when the system refuses.
    public func finish() throws {
        try layout.checkComplete()
        try output.commit()
    }
}
