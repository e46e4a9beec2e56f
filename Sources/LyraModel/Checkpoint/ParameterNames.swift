import LyraBase
import LyraTensor

/// Names of a checkpoint's tensors in the layouts that are published.
///
/// lyra uses the names of the Lyra release. Qwen2-VL's own release differs in the vision tower (`visual.…`), and what
/// transformers writes since 4.52 also in the language model (`model.language_model.…`, `model.visual.…`).
package enum ParameterNames {
    /// Where the Lyra release keeps a vision tower inside a checkpoint.
    package static let vision = "model.vision_tower.vision_tower."

    /// Prefixes of other layouts, with the Lyra release's.
    private static let prefixes = [
        ("model.language_model.", "model."), ("model.visual.", vision), ("visual.", vision),
    ]

    /// PEFT's prefix of every tensor of an adapter.
    package static let peft = "base_model.model."

    /// The name in the Lyra release.
    package static func published(_ name: String) -> String {
        for (old, new) in prefixes where name.hasPrefix(old) { return new + name.dropFirst(old.count) }
        return name
    }

    /// The name that transformers since 4.52 gives a module of the language model.
    static func newer(_ module: String) -> String {
        module.hasPrefix("model.") ? "model.language_model." + module.dropFirst("model.".count) : module
    }

    /// Tensors under the names of the Lyra release.
    ///
    /// - Throws: `LyraError.format`, naming both, if two tensors have the same name there.
    package static func published(
        _ tensors: [String: StoredTensor], _ origin: String
    ) throws -> [String: StoredTensor] {
        try renamed(tensors, origin, published)
    }

    /// An adapter's tensors under PEFT's names for the Lyra release.
    static func publishedAdapter(
        _ tensors: [String: StoredTensor], _ origin: String
    ) throws -> [String: StoredTensor] {
        try renamed(tensors, origin) { name in
            name.hasPrefix(peft) ? peft + published(String(name.dropFirst(peft.count))) : name
        }
    }

    private static func renamed(
        _ tensors: [String: StoredTensor], _ origin: String, _ name: (String) -> String
    ) throws -> [String: StoredTensor] {
        guard tensors.keys.contains(where: { name($0) != $0 }) else { return tensors }
        var result: [String: StoredTensor] = [:]
        for (old, tensor) in tensors.sorted(by: { $0.key < $1.key }) {
            if let other = result.updateValue(tensor, forKey: name(old)) {
                throw LyraError(
                    .format,
                    "\(origin): \(shown(other.name)) and \(shown(tensor.name)) are the same tensor under the names of "
                        + "two layouts; remove one")
            }
        }
        return result
    }
}
