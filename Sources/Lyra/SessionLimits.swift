import LyraBase
import LyraModel
import LyraTensor

/// A session's limits on memory and tokens, checked before anything is allocated.
struct SessionLimits {
    private let maxTokens: Int
    private let maxBytes: Int?
    private let decoder: Decoder
    private let schedule: ExtractionSchedule?
    private let type: KeyValueType

    init(_ options: SessionOptions, _ decoder: Decoder, schedule: ExtractionSchedule? = nil) {
        maxTokens = min(options.maxContextTokens ?? .max, Int(Int32.max) / 2)
        maxBytes = options.maxMemoryBytes
        self.decoder = decoder
        self.schedule = schedule
        type = options.keyValueType
    }

    /// Checks that rows which are known to follow have room. With an extractor they count as media, because it may
    /// prune most of them.
    ///
    /// - Parameters:
    ///   - held: bytes of the rows that wait for prefill
    ///   - rows: number of prompt rows that are not in the caches yet
    /// - Throws: `LyraError.memory` with the limit and the required amount.
    func check(_ conversation: Conversation, held: Int, rows: Int) throws {
        try checkTokens(conversation.length, rows)
        guard maxBytes != nil else { return }
        let layers = decoder.layerCount
        let counts = schedule?.counts(of: rows, layers: layers) ?? [Int](repeating: rows, count: layers)
        try checkBytes(conversation, held: held, adding: counts)
    }

    /// The same for a prefill that is about to begin.
    func check(_ conversation: Conversation, held: Int, adding prefill: Prefill) throws {
        try checkTokens(conversation.length, prefill.cacheRows.first ?? 0)
        try checkBytes(conversation, held: held, adding: prefill.cacheRows)
    }

    /// The same for caches to be restored, given the rows of each.
    func check(lengths: [Int]) throws {
        try checkTokens(lengths.first ?? 0, 0)
        try checkBytes(held: 0, rows: lengths)
    }

    private func checkTokens(_ length: Int, _ rows: Int) throws {
        let total = length.saturatingAdding(rows)
        // The answer needs at least one more token.
        guard total < maxTokens else {
            throw LyraError(
                .memory, "the conversation would have at least \(total) tokens, over the limit of \(maxTokens)")
        }
    }

    private func checkBytes(_ conversation: Conversation, held: Int, adding rows: [Int]) throws {
        try checkBytes(held: held, rows: zip(conversation.caches, rows).map { $0.rows + $1 })
    }

    private func checkBytes(held: Int, rows: [Int]) throws {
        guard let maxBytes else { return }
        let bytes = decoder.cacheBytes(rows: rows, type: type).saturatingAdding(held)
        guard bytes <= maxBytes else {
            throw LyraError(
                .memory,
                "the conversation would take \(bytes) bytes, over the limit of \(maxBytes); shorten it, raise the "
                    + "limit, or use a smaller cache type or the extractor")
        }
    }

    /// Number of further tokens that have room, at most `limit`.
    func room(_ conversation: Conversation, limit: Int) -> Int {
        let byTokens = min(limit, maxTokens - conversation.length)
        guard let maxBytes else { return max(byTokens, 0) }
        func fits(_ count: Int) -> Bool {
            decoder.cacheBytes(rows: conversation.caches.map { $0.rows + count }, type: type) <= maxBytes
        }
        // Bisects for the largest count that fits.
        var (least, most) = (0, max(byTokens, 0) + 1)
        while most - least > 1 {
            let middle = (least + most) / 2
            if fits(middle) { least = middle } else { most = middle }
        }
        return least
    }
}
