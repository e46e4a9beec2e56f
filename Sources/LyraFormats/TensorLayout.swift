import LyraTensor

/// The tensors that a writer has promised, where each goes, and which are still to come.
struct TensorLayout {
    private var pending: [String: (spec: TensorSpec, index: Int, bytes: Int)] = [:]
    let path: String

    /// - Throws: `.argument` when a name is there twice or a shape has no size, `.unsupported` for a block type.
    init(_ tensors: [TensorSpec], path: String) throws {
        self.path = path
        for (index, spec) in tensors.enumerated() {
            guard spec.type.blockElements == 1 else {
                throw LyraError(
                    .unsupported,
                    "\(path): tensor \(shown(spec.name)) is \(spec.type.rawValue), which only GGUF files hold")
            }
            guard let bytes = spec.type.byteCount(of: spec.shape) else {
                throw LyraError(
                    .argument, "\(path): tensor \(shown(spec.name)) cannot have the shape \(spec.shape.prefix(16))")
            }
            guard pending.updateValue((spec, index, bytes), forKey: spec.name) == nil else {
                throw LyraError(.argument, "\(path): tensor \(shown(spec.name)) is announced twice")
            }
        }
    }

    /// Bytes of a tensor that was announced.
    func byteCount(_ name: String) -> Int { pending[name]?.bytes ?? 0 }

    /// Notes that a tensor is written now.
    ///
    /// - Returns: Its index in the announced list.
    /// - Throws: `.argument` when it was not announced, is written already, or has another size.
    mutating func take(_ name: String, byteCount: Int) throws -> Int {
        guard let entry = pending[name] else {
            throw LyraError(.argument, "\(path): tensor \(shown(name)) was not announced, or is written twice")
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

    /// - Throws: `.state` when a tensor is still to come.
    func checkComplete() throws {
        if let name = pending.keys.min() {
            throw LyraError(.state, "\(path): \(pending.count) tensors are not written yet, \(shown(name)) among them")
        }
    }
}
