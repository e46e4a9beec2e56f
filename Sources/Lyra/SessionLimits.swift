import LyraBase
import LyraModel
import LyraTensor

/// A session's limits on memory and tokens, checked before anything is allocated.
struct SessionLimits {
    /// The most tokens of a conversation whose positions do not overflow.
    private static let mostTokens = Int(Int32.max) / 2

    private let maxContextTokens: Int?
    private let maxBytes: Int?
    private let decoder: Decoder
    private let schedule: ExtractionSchedule?
    private let type: KeyValueType

    init(_ options: SessionOptions, _ decoder: Decoder, schedule: ExtractionSchedule? = nil) {
        maxContextTokens = options.maxContextTokens
        maxBytes = options.maxMemoryBytes
        self.decoder = decoder
        self.schedule = schedule
        type = options.keyValueType
    }

    private var maxTokens: Int { min(maxContextTokens ?? .max, Self.mostTokens) }

    /// Checks that rows which are known to follow have room. With an extractor they count as media, because it may
    /// prune most of them.
    ///
    /// - Parameters:
    ///   - before: what the turn in progress can be rolled back to
    ///   - held: bytes of the rows that wait for prefill
    ///   - rows: number of prompt rows that are not in the caches yet
    /// - Throws: `LyraError.memory` with the limit and the required amount.
    func check(_ conversation: Conversation, since before: Conversation.Mark, held: Int, rows: Int) throws {
        try checkTokens(conversation.length, rows)
        guard maxBytes != nil else { return }
        let layers = decoder.layerCount
        let counts = schedule?.counts(of: rows, layers: layers) ?? [Int](repeating: rows, count: layers)
        try checkBytes(conversation, since: before, held: held, adding: counts)
    }

    /// The same for a prefill that is about to begin.
    func check(
        _ conversation: Conversation, since before: Conversation.Mark, held: Int, adding prefill: Prefill
    ) throws {
        try checkTokens(conversation.length, prefill.cacheRows.first ?? 0)
        try checkBytes(conversation, since: before, held: held, adding: prefill.cacheRows)
    }

    /// The same for caches to be restored, given the rows of each.
    func check(lengths: [Int]) throws {
        try checkTokens(lengths.first ?? 0, 0)
        try checkBytes(decoder.cacheBytes(rows: lengths, type: type))
    }

    private func checkTokens(_ length: Int, _ rows: Int) throws {
        let total = length.saturatingAdding(rows)
        // The answer needs at least one more token.
        guard total < maxTokens else {
            throw LyraError(
                .memory,
                "the conversation would have at least \(total) tokens, over \(tokenLimit)")
        }
    }

    private var tokenLimit: String {
        maxTokens == maxContextTokens
            ? "the limit of \(maxTokens) (max_context_tokens); shorten the turn, raise the limit, or reset the session"
            : "the \(maxTokens) that a conversation can have; shorten the turn, or reset the session"
    }

    private func checkBytes(
        _ conversation: Conversation, since before: Conversation.Mark, held: Int, adding rows: [Int]
    ) throws {
        guard maxBytes != nil else { return }
        let rows = zip(conversation.caches, rows).map { $0.rows + $1 }
        try checkBytes(bytes(conversation, since: before, rows: rows).saturatingAdding(held))
    }

    private func checkBytes(_ bytes: Int) throws {
        guard let maxBytes, bytes > maxBytes else { return }
        throw LyraError(
            .memory,
            "the conversation would take \(bytes) bytes, over the limit of \(maxBytes) (max_memory_bytes); "
                + Self.byteRemedy)
    }

    private static let byteRemedy = "shorten it, raise the limit, or use a smaller cache type or the extractor"

    /// Bytes of the caches with `rows` rows, and of the pages kept for a rollback.
    private func bytes(_ conversation: Conversation, since before: Conversation.Mark, rows: [Int]) -> Int {
        decoder.cacheBytes(rows: rows, type: type)
            .saturatingAdding(before.bytesHeld(conversation.caches, rows: rows))
    }

    /// Number of tokens that an answer has room for, at most `limit`.
    ///
    /// - Throws: `LyraError.memory` if there is no room for one.
    func room(_ conversation: Conversation, since before: Conversation.Mark, limit: Int) throws -> Int {
        let byTokens = min(limit, maxTokens - conversation.length)
        guard byTokens > 0 else {
            throw LyraError(
                .memory,
                "the conversation has \(conversation.length) tokens, and an answer would go over " + tokenLimit)
        }
        guard let maxBytes else { return byTokens }
        func bytes(_ count: Int) -> Int {
            self.bytes(conversation, since: before, rows: conversation.caches.map { $0.rows + count })
        }
        // Bisects for the largest count that fits.
        var (least, most) = (0, byTokens + 1)
        while most - least > 1 {
            let middle = (least + most) / 2
            if bytes(middle) <= maxBytes { least = middle } else { most = middle }
        }
        guard least > 0 else {
            throw LyraError(
                .memory,
                "the conversation of \(conversation.length) tokens would take \(bytes(1)) bytes with the first token "
                    + "of its answer, over the limit of \(maxBytes) (max_memory_bytes); " + Self.byteRemedy)
        }
        return least
    }
}
