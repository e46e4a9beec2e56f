import LyraBase

/// The tensors that were announced to a writer and are not written yet.
struct TensorLayout {
    private struct Pending {
        let spec: TensorSpec
        let index: Int
        /// Bytes of the tensor, and how many of them are written.
        let bytes: Int
        var written = 0
    }

    private var pending: [String: Pending] = [:]
    let path: String

    /// - Parameter blocks: Whether the file format has quantized types; only GGUF has.
    /// - Throws: `.argument` for a name that is announced twice or an impossible shape, `.unsupported` for a quantized
    ///   type if `blocks` is false.
    init(_ tensors: [TensorSpec], path: String, blocks: Bool = false) throws {
        self.path = path
        for (index, spec) in tensors.enumerated() {
            guard blocks || spec.type.blockElements == 1 else {
                throw LyraError(
                    .unsupported,
                    "\(path): tensor \(shown(spec.name)) is \(spec.type.rawValue), which only GGUF files hold")
            }
            guard let bytes = spec.type.byteCount(of: spec.shape) else {
                throw LyraError(
                    .argument,
                    "\(path): tensor \(shown(spec.name)) of \(spec.type.rawValue) cannot have the shape "
                        + "\(spec.shape.prefix(16))")
            }
            guard pending.updateValue(Pending(spec: spec, index: index, bytes: bytes), forKey: spec.name) == nil else {
                throw LyraError(.argument, "\(path): tensor \(shown(spec.name)) is announced twice")
            }
        }
    }

    /// Bytes of a tensor that is not written yet.
    func byteCount(_ name: String) -> Int { pending[name]?.bytes ?? 0 }

    /// Records that a whole tensor is written.
    ///
    /// - Returns: The tensor's index in the announced list.
    /// - Throws: `.argument` when the tensor was not announced, has another size, or bytes of it were written before.
    mutating func take(_ name: String, byteCount: Int) throws -> Int {
        let entry = try entry(name)
        guard entry.written == 0 else {
            throw LyraError(.argument, "\(path): tensor \(shown(name)) is already written in part")
        }
        guard entry.bytes == byteCount else {
            throw LyraError(
                .argument,
                "\(path): tensor \(shown(name)) has \(byteCount) bytes, but \(entry.spec.shape.prefix(16)) of "
                    + "\(entry.spec.type.rawValue) takes \(entry.bytes)")
        }
        pending[name] = nil
        return entry.index
    }

    /// Records that the next piece of a tensor is written.
    ///
    /// - Returns: The tensor's index in the announced list, and how many of its bytes were written before.
    /// - Throws: `.argument` when the tensor was not announced, is complete, or has fewer bytes left.
    mutating func takePiece(_ name: String, byteCount: Int) throws -> (index: Int, offset: Int) {
        var entry = try entry(name)
        let offset = entry.written
        guard byteCount <= entry.bytes - offset else {
            throw LyraError(
                .argument,
                "\(path): tensor \(shown(name)): \(byteCount) more bytes, but \(entry.bytes - offset) of "
                    + "\(entry.bytes) are left")
        }
        entry.written += byteCount
        pending[name] = entry.written < entry.bytes ? entry : nil
        return (entry.index, offset)
    }

    private func entry(_ name: String) throws -> Pending {
        guard let entry = pending[name] else {
            throw LyraError(.argument, "\(path): tensor \(shown(name)) was not announced, or is written twice")
        }
        return entry
    }

    /// - Throws: `.state` when a tensor is incomplete.
    func checkComplete() throws {
        if let name = pending.keys.min() {
            throw LyraError(.state, "\(path): \(pending.count) tensors are not written yet, \(shown(name)) among them")
        }
    }
}
