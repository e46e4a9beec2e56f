import LyraBase
import LyraModel
import LyraTensor
import LyraText

/// Moves the user's turn into the KV caches: encodes its media in steps, and prefills the rows that are ready.
///
/// Without an extractor, prompt rows go through the decoder in chunks as they become ready, even while the turn is
/// being fed, so that only one chunk is in memory however long a recording is. With an extractor, the whole prompt is
/// prefilled at once, because the extractor ranks all media by the attention of the text after them.
final class PromptIntake {
    private enum State {
        /// Encodes media; their rows wait in the queue.
        case encoding
        /// Tokenizes the turn's first text into the queue, step by step.
        case tokenizing(TextEncoding)
        /// Rows from the queue go through the decoder; the first of them is row `firstRow` of the prompt.
        case prefilling(Prefill, firstRow: Int)
        /// The whole prompt is prefilled; the last row predicts the answer's first token.
        case done(lastRows: Tensor)
    }

    private let checkpoint: Checkpoint
    private let schedule: ExtractionSchedule?
    private let limits: SessionLimits

    /// The conversation before the turn's first feed.
    let before: Conversation.Mark
    /// When the user's turn ended, in milliseconds; nil while it is being fed.
    private(set) var turnEnd: Double?
    private var state = State.encoding
    private(set) var turn = Turn()
    private var queue = PromptQueue()
    private var isAdapterSettled: Bool
    /// Whether the template's opening, with the system prompt, is in the prompt.
    private(set) var hasBegun = false

    /// Spans of the media encoded so far, in the prompt.
    let media: GrowingBuffer<MediaSpan>
    /// For each extractor block, the media tokens that were kept, as indices into the prompt.
    private(set) var kept: [GrowingBuffer<Int32>] = []
    private(set) var promptTokens = 0
    private(set) var mediaTokens = 0
    private(set) var timings = Timings()
    private(set) var progress = SessionProgress()
    /// Number of recordings of speech and of sound that were fed.
    var recordingsFed = 0
    /// Number of progress items (windows of speech, images, videos and sounds) that were encoded.
    private var encodedItems = 0
    /// Number of progress items of the media already taken from the turn.
    private var takenItems = 0
    /// Number of rows that went through a layer, summed over the layers.
    private var prefilledRows = 0
    /// The hidden states of the newest rows that are prefilled: one, and those before it that an answer's speech needs.
    private var newestRows: Tensor?

    init(
        _ checkpoint: Checkpoint, _ options: SessionOptions, before: Conversation.Mark,
        media: GrowingBuffer<MediaSpan> = GrowingBuffer()
    ) {
        self.checkpoint = checkpoint
        self.before = before
        schedule = options.schedule(checkpoint)
        limits = SessionLimits(options, checkpoint.decoder, schedule: schedule)
        isAdapterSettled = options.adapter != .automatic
        self.media = media
    }

    /// Continues a turn that was saved while it was being fed.
    convenience init(
        _ checkpoint: Checkpoint, _ options: SessionOptions, before: Conversation.Mark, saved: Turn.Saved,
        promptTokens: Int, media: GrowingBuffer<MediaSpan>
    ) {
        self.init(checkpoint, options, before: before, media: media)
        turn = Turn(saved)
        hasBegun = true
        self.promptTokens = promptTokens
        mediaTokens = media.reduce(0) { $0 + $1.tokens }
    }

    /// The state to save; nil while something waits to be encoded or prefilled.
    var saved: Turn.Saved? {
        guard case .encoding = state, queue.count == 0 else { return nil }
        return turn.saved
    }

    /// The prompt's last hidden states: the one that predicts the answer's first token, after those that the speech
    /// generator reads before it; nil until the whole prompt is prefilled.
    var lastRows: Tensor? { if case .done(let rows) = state { rows } else { nil } }

    func add(_ item: TurnItem) { turn.add(item) }

    /// Ends the user's content.
    func close() {
        turnEnd = MonotonicTime.milliseconds
        turn.close()
        progress = SessionProgress(phase: .encode)
    }

    /// Does one short piece of work.
    ///
    /// - Returns: false if nothing can be done until more is fed or the turn is closed
    func step(_ conversation: inout Conversation, system: String) throws -> Bool {
        let start = MonotonicTime.milliseconds
        let current = state
        state = .encoding  // leaves `current` the only reference, so that the work changes in place
        switch consume current {
        case .prefilling(let prefill, let firstRow):
            defer { timings.prefill += MonotonicTime.milliseconds - start }
            try prefillStep(prefill, firstRow: firstRow, conversation)
            return true
        case .tokenizing(let encoding):
            defer { timings.encode += MonotonicTime.milliseconds - start }
            try tokenizeStep(encoding, &conversation)
            return true
        case .encoding:
            defer { timings.encode += MonotonicTime.milliseconds - start }
            return try encodingStep(&conversation, system: system)
        case .done(let rows):
            state = .done(lastRows: rows)
            return false
        }
    }

    private func encodingStep(_ conversation: inout Conversation, system: String) throws -> Bool {
        // Rows that are ready go on first, so that few wait in memory.
        try settleAdapter(&conversation)
        try collect(&conversation, system: system)
        if case .tokenizing = state { return true }
        if queue.count >= Prefill.chunkRows, try beginPrefill(conversation) { return true }
        if try encodeStep(conversation) { return true }
        return try beginPrefill(conversation)
    }

    // MARK: Encoding

    /// - Returns: whether there was work
    private func encodeStep(_ conversation: Conversation) throws -> Bool {
        for medium in nextMedia {
            try limits.check(conversation, since: before, held: heldBytes, rows: rowsToCome)
            let step = try medium.step(isComplete: turn.isClosed)
            if case .waiting = step { continue }
            if case .finished = step { encodedItems += 1 }
            progress = SessionProgress(phase: .encode, done: encodedItems, total: totalItems)
            return true
        }
        return false
    }

    /// The media to encode, in their order. If the adapter depends on the recordings, the first window of each is read
    /// before any is encoded. Otherwise encoder outputs, which are larger than samples, would have to wait for the
    /// adapter.
    private var nextMedia: [any MediaEncoding] {
        if turn.isClosed, !isAdapterSettled {
            let unread = turn.recordings.filter { $0.hasSeveralWindows == nil }
            if !unread.isEmpty { return unread }
        }
        return turn.unfinished
    }

    /// Progress items of all media that were fed; 0 if unknown.
    private var totalItems: Int {
        var total = takenItems
        for case .media(let medium) in turn.spans {
            guard let items = medium.expectedItems else { return 0 }
            total += items
        }
        return max(total, encodedItems)
    }

    /// Bytes of encoded rows that are waiting.
    private var heldBytes: Int {
        turn.spans.reduce(queue.byteCount) { sum, span in
            if case .media(let medium) = span { sum + medium.readyBytes } else { sum }
        }
    }

    /// Number of rows that are known to follow, except those of text that is not tokenized yet.
    private var rowsToCome: Int {
        turn.spans.reduce(queue.count) { sum, span in
            guard case .media(let medium) = span else { return sum }
            return sum.saturatingAdding(medium.expectedRows ?? medium.readyRows)
        }
    }

    // MARK: Adapter

    /// `auto` moves from none to speech to long_speech as this turn's recordings require, never back. Before the end of
    /// the turn, the adapter is only settled once it is long_speech. A checkpoint without adapters hears with its own
    /// weights alone.
    private func settleAdapter(_ conversation: inout Conversation) throws {
        guard !isAdapterSettled else { return }
        guard !checkpoint.adapters.isEmpty else {
            isAdapterSettled = true
            return
        }
        let long = checkpoint.adapterIndex("long_speech")
        if let long, conversation.adapter == long {
            isAdapterSettled = true
            return
        }
        let recordings = turn.recordings
        let isLong = recordings.contains { $0.hasSeveralWindows ?? false }
        guard isLong || (turn.isClosed && recordings.allSatisfy { $0.hasSeveralWindows != nil }) else { return }
        isAdapterSettled = true
        guard !recordings.isEmpty else { return }
        let name = isLong ? "long_speech" : "speech"
        guard let index = checkpoint.adapterIndex(name) else {
            throw LyraError(
                .missing,
                "the checkpoint has no adapter \(name)_lora for this recording; set the session's adapter to "
                    + "another, or to none"
            )
        }
        conversation.adapter = index
    }

    // MARK: Collecting rows

    /// Moves ready rows to the queue in the order of the prompt, up to a text that takes further steps.
    private func collect(_ conversation: inout Conversation, system: String) throws {
        guard isAdapterSettled, turn.canTakeFirst else { return }
        if !hasBegun { try begin(&conversation, system: system) }
        while let span = turn.spans.first {
            switch span {
            case .text(let segments):
                guard turn.isFirstTextComplete else { return }
                turn.removeFirst()
                try tokenizeStep(checkpoint.tokenizer.encoding(of: segments), &conversation)
                if case .tokenizing = state { return }
            case .media(let medium):
                for encoded in try medium.take(adapter: conversation.adapter) {
                    try append(encoded, of: medium, to: &conversation)
                }
                guard medium.isDone else { return }
                takenItems += medium.expectedItems ?? 0
                turn.removeFirst()
            }
        }
    }

    /// Tokenizes a piece of a text, or all of a short text, and checks the limits.
    private func tokenizeStep(_ encoding: consuming TextEncoding, _ conversation: inout Conversation) throws {
        let ids = GrowingBuffer<Int32>()
        try encoding.step(into: ids)
        try append(ids, to: &conversation)
        // For text that is not tokenized yet, count the fewest tokens it can have.
        let fewest = encoding.isDone ? 0 : encoding.fewestTokens
        try limits.check(conversation, since: before, held: heldBytes, rows: rowsToCome.saturatingAdding(fewest))
        if !encoding.isDone { state = .tokenizing(encoding) }
    }

    private func begin(_ conversation: inout Conversation, system: String) throws {
        hasBegun = true
        try append(GrowingBuffer(copying: conversation.uncomputed), to: &conversation)
        conversation.uncomputed = []
        turn.open(
            with: conversation.answerEnded.map { [TextSegment(ChatTemplate.nextTurn(answerEnded: $0))] }
                ?? ChatTemplate.openingSegments(system: system))
    }

    private func append(_ ids: GrowingBuffer<Int32>, to conversation: inout Conversation) throws {
        try conversation.tokens.append(ids)
        promptTokens += ids.count
        queue.append(ids, next: &conversation.nextPosition)
    }

    private func append(
        _ encoded: EncodedRows, of medium: any MediaEncoding, to conversation: inout Conversation
    ) throws {
        let count = encoded.rows.rows
        queue.append(encoded.rows, medium.layout, next: &conversation.nextPosition)
        var span = MediaSpan(
            kind: medium.kind, first: promptTokens, tokens: count, time: count, height: 1, width: 1,
            start: encoded.start, seconds: encoded.seconds)
        if case .grid(let time, let height, let width) = medium.layout {
            (span.time, span.height, span.width) = (time, height, width)
        }
        promptTokens += count
        mediaTokens += count
        if let last = media.last, last.isContinued(by: span) {
            media[media.count - 1].extend(by: span)
        } else {
            try media.append(span)
        }
    }

    // MARK: Prefilling

    /// Whether the whole turn is in the queue.
    private var isWhole: Bool { turn.isClosed && turn.spans.isEmpty }

    /// Starts a prefill of the ready rows, if the schedule and the turn's state allow it.
    private func beginPrefill(_ conversation: Conversation) throws -> Bool {
        guard queue.count > 0, isAdapterSettled, schedule == nil || isWhole else { return false }
        // When the whole prompt is prefilled at once, its rows are in memory twice: in the queue and as hidden states.
        let rowBytes = checkpoint.configuration.language.hiddenSize * MemoryLayout<Float>.stride
        let held = schedule == nil ? heldBytes : 2 * queue.count * rowBytes
        try limits.check(conversation, since: before, held: held, rows: rowsToCome)
        let limit = schedule == nil ? Prefill.chunkRows : Int.max
        let firstRow = promptTokens - queue.count
        let (embeddings, positions, roles) = try queue.take(
            limit, checkpoint.decoder, adapter: conversation.adapter)
        let begun = try Prefill(
            checkpoint.decoder, embeddings: embeddings, positions: positions, roles: roles,
            schedule: schedule)
        try limits.check(conversation, since: before, held: held, adding: begun)
        state = .prefilling(begun, firstRow: firstRow)
        return true
    }

    private func prefillStep(
        _ prefill: consuming Prefill, firstRow: Int, _ conversation: Conversation
    ) throws {
        try prefill.step(checkpoint.decoder, caches: conversation.caches, adapter: conversation.adapter)
        let (done, total) = prefill.progress
        progress = SessionProgress(
            phase: .prefill, done: prefilledRows + done,
            total: isWhole ? prefilledRows + total + queue.count * checkpoint.decoder.layerCount : 0)
        guard prefill.isDone else {
            state = .prefilling(prefill, firstRow: firstRow)
            return
        }
        prefilledRows += done
        let first = Int32(firstRow)
        kept = try prefill.kept.map { try GrowingBuffer(copying: $0.lazy.map { $0 + first }) }
        let needed = 1 + (checkpoint.generator?.configuration.contextRows ?? 0)
        let new = try prefill.lastRows(checkpoint.decoder, count: needed)
        let rows = try newestRows.map { try Tensor.stacking([$0, new]) } ?? new
        let newest = rows.rows(max(0, rows.rows - needed)..<rows.rows)
        newestRows = newest
        if isWhole, queue.count == 0 { state = .done(lastRows: newest) }
    }
}

extension MediaSpan {
    /// Whether `next` directly continues this span of the same recording.
    fileprivate func isContinued(by next: MediaSpan) -> Bool {
        kind == .speech && next.kind == .speech && first + tokens == next.first && next.start > 0
            && abs(start + seconds - next.start) < 1e-6
    }

    fileprivate mutating func extend(by next: MediaSpan) {
        tokens += next.tokens
        time += next.time
        seconds += next.seconds
    }
}
