/// A part of the decoder that adapters can replace as a whole (PEFT's `modules_to_save`).
struct Replaceable<Value: Sendable>: Sendable {
    let base: Value
    /// The replacement of each adapter in index order; nil where an adapter does not replace the part.
    private var replacements: [Value?] = []

    init(_ base: Value) { self.base = base }

    /// Number of adapters that were added.
    var adapterCount: Int { replacements.count }

    mutating func append(_ replacement: Value?) { replacements.append(replacement) }

    /// What an adapter puts in the part's place; nil if nothing.
    func replacement(of adapter: Int) -> Value? {
        replacements.indices.contains(adapter) ? replacements[adapter] : nil
    }

    /// The value with an adapter; nil is no adapter.
    func callAsFunction(_ adapter: Int?) -> Value { adapter.flatMap { replacement(of: $0) } ?? base }

    /// The base and every replacement.
    var all: [Value] { [base] + replacements.compactMap { $0 } }
}
