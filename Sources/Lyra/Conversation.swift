import LyraBase
import LyraModel
import LyraTensor

/// The state of a conversation: the KV caches of all layers, and the tokens that follow them.
struct Conversation {
    let caches: [KeyValueCache]
    /// Where the next token stands.
    var nextPosition: Int32 = 0
    /// Tokens of the conversation that are not in the caches yet: the last one of an answer, or the end of its turn.
    var uncomputed: [Int32] = []
    /// How the last answer ended; nil before the first.
    var answerEnded: Bool?
    /// Index of the adapter in use; nil for none.
    var adapter: Int?
    /// All text tokens so far, for the repetition penalty.
    let tokens: GrowingBuffer<Int32>
    var sampler: Sampler

    /// Tokens in the caches.
    var length: Int { caches.first?.rows ?? 0 }

    /// Bytes of the caches.
    var cacheBytes: Int { caches.reduce(0) { $0 + $1.byteCount } }

    /// Frees the caches' memory.
    mutating func clear() {
        for cache in caches { cache.truncate(to: 0) }
        nextPosition = 0
    }

    /// Everything that a turn changes, so that it can be rolled back. Caches and tokens only grow at their end.
    struct Mark {
        let caches: [KeyValueCache.Mark]
        let rest: Conversation
        let tokenCount: Int

        var lengths: [Int] { caches.map(\.rows) }
    }

    func mark() -> Mark { Mark(caches: caches.map { $0.mark() }, rest: self, tokenCount: tokens.count) }

    mutating func restore(_ mark: Mark) {
        self = mark.rest
        tokens.truncate(to: mark.tokenCount)
        for (cache, before) in zip(caches, mark.caches) { cache.restore(to: before) }
    }
}
