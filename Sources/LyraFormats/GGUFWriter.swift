/// Writes a GGUF file, version 3. The caller announces all tensors, then writes them one at a time, whole or in pieces.
///
/// The file appears under its name only with `finish()`; a writer that fails or is released earlier leaves no file.
/// Disk space for the whole file is reserved at the start, so that a lack of space shows before hours of work.
///
/// The tensors lie in the order in which they are announced, each padded to the alignment, as ggml's reader requires.
/// ggml's reader also refuses names of more than 63 bytes and tensors without elements; lyra's accepts both.
public final class GGUFWriter {
    /// The default alignment: tensors begin at multiples of it.
    public static let usualAlignment = 32
    /// The most axes that a tensor may have in a GGUF file.
    public static let axisLimit = 4
    /// The key under which a file states its alignment.
    static let alignmentKey = "general.alignment"

    private let output: OutputFile
    private var layout: TensorLayout
    /// Where each announced tensor begins in the file.
    private let offsets: [Int]

    /// Creates the file, reserves its disk space, and writes everything except the tensors.
    ///
    /// - Parameters:
    ///   - metadata: Keys and values, in this order; keys are ASCII. `general.alignment` is added where it is needed.
    ///   - tensors: All tensors that will be written, with shapes as everywhere in lyra: the innermost axis last.
    ///   - alignment: Tensors begin at multiples of this: a power of two up to 1 MiB.
    /// - Throws: `.io` when the file cannot be created or the disk is too full, with the bytes needed and free;
    ///   `.argument` for a name that is invalid or announced twice, an impossible shape, or an invalid alignment;
    ///   `.unsupported` for a type that GGUF lacks (U8, BOOL, 8-bit floats), for more than four axes, and for more
    ///   metadata than lyra reads.
    public convenience init(
        path: String, metadata: [(key: String, value: GGUFValue)], tensors: [TensorSpec],
        alignment: Int = GGUFWriter.usualAlignment
    ) throws {
        let plan = try GGUFPlan(path: path, metadata: metadata, tensors: tensors, alignment: alignment)
        try self.init(output: OutputFile(path: path), plan: plan)
    }

    /// Writes to an open file.
    init(output: OutputFile, plan: GGUFPlan) throws {
        self.output = output
        layout = plan.layout
        offsets = plan.offsets
        try output.reserve(plan.fileSize)
        try plan.header.withUnsafeBytes { try output.write($0, at: 0) }
        // The file system supplies the zeros between tensors; those after the last tensor must be written.
        try [UInt8](repeating: 0, count: plan.trailing).withUnsafeBytes {
            try output.write($0, at: plan.fileSize - plan.trailing)
        }
    }

    /// Writes the bytes of one announced tensor; the order does not matter.
    ///
    /// - Throws: `.argument` when the tensor was not announced, was written before, or has another size; `.io` when the
    ///   system refuses, for example on a full disk: the file is then removed, and the writer accepts no more.
    public func write(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
        let index = try layout.take(name, byteCount: bytes.count)
        try output.write(bytes, at: offsets[index])
    }

    /// Writes the next piece of one announced tensor, for tensors that do not fit into memory. Pieces of several
    /// tensors may alternate. An empty tensor needs one empty piece.
    ///
    /// - Throws: `.argument` when the tensor was not announced, is complete, or has fewer bytes left; `.io` as `write`.
    public func append(_ name: String, _ bytes: UnsafeRawBufferPointer) throws {
        let (index, offset) = try layout.takePiece(name, byteCount: bytes.count)
        try output.write(bytes, at: offsets[index] + offset)
    }

    /// Completes the file and gives it its name.
    ///
    /// - Throws: `.state` when a tensor is incomplete; `.io` when the system refuses.
    public func finish() throws {
        try layout.checkComplete()
        try output.commit()
    }
}
