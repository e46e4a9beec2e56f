import LyraBase

/// The tensors that a writer has promised, where each goes, and which are still to come.
struct TensorLayout {
    private struct Pending {
        let spec: TensorSpec
        let index: Int
        /// Bytes of the tensor, and how many of them were taken.
        let bytes: Int
        var taken = 0
    }

    private var pending: [String: Pending] = [:]
    let path: String

    /// - Parameter blocks: Whether the file can hold block types; only GGUF files can.
    /// - Throws: `.argument` when a name is there twice or a shape has no size, `.unsupported` for a block type.
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

    /// Bytes of a tensor that was announced.
    func byteCount(_ name: String) -> Int { pending[name]?.bytes ?? 0 }

    /// Notes that a tensor is written now, all of it.
    ///
    /// - Returns: Its index in the announced list.
    /// - Throws: `.argument` when it was not announced, is written already or in part, or has another size.
    mutating func take(_ name: String, byteCount: Int) throws -> Int {
        let entry = try entry(name)
        guard entry.taken == 0 else {
            throw LyraError(.argument, "\(path): tensor \(shown(name)) is written in part already")
        }
        guard entry.bytes == byteCount else {
            throw LyraError(
                .argument,
                "\(path): tensor \(shown(name)) has \(byteCount) bytes, and \(entry.spec.shape.prefix(16)) of "
                    + "\(entry.spec.type.rawValue) takes \(entry.bytes)")
        }
        pending[name] = nil
        return entry.index
    }

    /// Notes that the next bytes of a tensor are written now.
    ///
    /// - Returns: Its index in the announced list, and how many of its bytes were taken before.
    /// - Throws: `.argument` when it was not announced, is complete already, or has fewer bytes left.
    mutating func takePart(_ name: String, byteCount: Int) throws -> (index: Int, offset: Int) {
        var entry = try entry(name)
        let offset = entry.taken
        guard byteCount <= entry.bytes - offset else {
            throw LyraError(
                .argument,
                "\(path): tensor \(shown(name)): \(byteCount) more bytes, and \(entry.bytes - offset) of "
                    + "\(entry.bytes) are left")
        }
        entry.taken += byteCount
        pending[name] = entry.taken < entry.bytes ? entry : nil
        return (entry.index, offset)
    }

    private func entry(_ name: String) throws -> Pending {
        guard let entry = pending[name] else {
            throw LyraError(.argument, "\(path): tensor \(shown(name)) was not announced, or is written twice")
        }
        return entry
    }

    /// - Throws: `.state` when a tensor, or a part of one, is still to come.
    func checkComplete() throws {
        if let name = pending.keys.min() {
            throw LyraError(.state, "\(path): \(pending.count) tensors are not written yet, \(shown(name)) among them")
        }
    }
}
