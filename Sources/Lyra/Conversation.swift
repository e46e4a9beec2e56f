import LyraBase
import LyraModel
import LyraTensor

/// The state of a conversation: the KV caches of all layers, and the tokens after them.
struct Conversation {
    let caches: [KeyValueCache]
    /// Position of the next token.
    var nextPosition: Int32 = 0
    /// Tokens of the conversation that are not yet in the caches: the last token of an answer, or the end of its turn.
    var uncomputed: [Int32] = []
    /// Whether the last answer ended by itself; nil before the first answer.
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

    /// A state to roll back to. Caches and tokens only grow at their end, so the mark needs only their lengths and the
    /// cache pages that may be quantized.
    struct Mark {
        let caches: [KeyValueCache.Mark]
        let conversation: Conversation
        let tokenCount: Int

        var lengths: [Int] { caches.map(\.rows) }

        /// Bytes that only the mark keeps alive: exact cache pages that `caches` have quantized since, or will have
        /// quantized once they have `rows` rows.
        func bytesHeld(_ caches: [KeyValueCache], rows: [Int]? = nil) -> Int {
            zip(caches, self.caches).enumerated().reduce(0) { sum, pair in
                let (layer, (cache, mark)) = pair
                return sum + cache.bytesHeld(by: mark, rows: rows?[layer] ?? 0)
            }
        }
    }

    func mark() -> Mark { Mark(caches: caches.map { $0.mark() }, conversation: self, tokenCount: tokens.count) }

    mutating func restore(_ mark: Mark) {
        self = mark.conversation
        tokens.truncate(to: mark.tokenCount)
        for (cache, before) in zip(caches, mark.caches) { cache.rollBack(to: before) }
    }
}
