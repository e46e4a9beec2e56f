import LyraBase
import LyraTensor

/// A token of a conversation that is decoded together with those of others.
package struct SharedToken {
    package let id: Int32
    package let position: Position
    package let caches: [KeyValueCache]
    package let adapter: Int?

    package init(_ id: Int32, position: Position, caches: [KeyValueCache], adapter: Int?) {
        (self.id, self.position, self.caches, self.adapter) = (id, position, caches, adapter)
    }
}

extension Decoder {
    /// Runs one token of each of several conversations through all layers, and scores what may follow: weights are read
    /// once for all. A row's numbers are those of the conversation alone, up to the order of sums.
    ///
    /// - Parameter isInterrupted: whether to give up, asked before each layer and before the output head
    /// - Returns: hidden states after the final norm, [tokens, hidden], and scores, [tokens, vocabulary]. The caller
    ///   then quantizes older pages of each conversation's caches, which cannot be undone for the others.
    /// - Throws: the first error of any conversation; all caches are then as before.
    package func decode(
        _ tokens: [SharedToken], isInterrupted: () -> Bool
    ) throws -> (hidden: Tensor, logits: Tensor) {
        let adapters = RowAdapters(ofConversations: tokens.map(\.adapter))
        return try SharedCache.undoing(tokens.map(\.caches)) {
            let rotation = try rotation(tokens.map(\.position))
            var x = try Tensor.stacking(tokens.map { try embed([$0.id], adapter: $0.adapter) })
            for (index, layer) in layers.enumerated() {
                guard !isInterrupted() else { throw SharedCache.interrupted }
                let cache = SharedCache(tokens.map { $0.caches[index] })
                x = try layer(x, rotation: rotation, cache: cache, adapters: adapters).output
            }
            guard !isInterrupted() else { throw SharedCache.interrupted }
            let hidden = try finalNorm(x, adapters)
            return (hidden, try head.apply(hidden, adapters) { head, x in try head.product(x, rows: .apart) })
        }
    }
}

/// The caches of one layer of several conversations; each has the same number of new positions.
final class SharedCache: AttentionContext {
    private let caches: [KeyValueCache]

    init(_ caches: [KeyValueCache]) { self.caches = caches }

    func attention(
        _ queries: Tensor, appending keys: Tensor, _ values: Tensor, heads: Int, precision: Precision
    ) throws -> Tensor {
        let each = queries.rows / caches.count
        return try Tensor.stacking(
            caches.enumerated().map { index, cache in
                let rows = index * each..<(index + 1) * each
                return try cache.attention(
                    queries.rows(rows), appending: keys.rows(rows), values.rows(rows), heads: heads,
                    precision: precision)
            })
    }

    static var interrupted: LyraError { LyraError(.state, "the work of several sessions was interrupted") }

    /// Runs `body`; if it throws, removes what it has appended to the caches.
    static func undoing<R>(_ caches: [[KeyValueCache]], _ body: () throws -> R) throws -> R {
        let rows = caches.map { $0.map(\.rows) }
        do { return try body() } catch {
            for (caches, rows) in zip(caches, rows) {
                for (cache, rows) in zip(caches, rows) { cache.truncate(to: rows) }
            }
            throw error
        }
    }
}
