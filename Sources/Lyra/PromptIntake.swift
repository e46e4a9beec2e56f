import LyraBase
import LyraModel
import LyraTensor
import LyraText

/// The user's turn on its way into the caches: media are encoded window by window, and what is ready is prefilled.
///
/// Without an extractor the prompt goes through the decoder in chunks as it becomes ready, also while it is still being
/// fed, so that only a chunk of it is held, however long a recording is. With one, all of it goes at once, because the
/// extractor ranks all media by the attention of the text that follows them.
final class PromptIntake {
    private enum State {
        /// Media are encoded, and their rows wait in the queue.
        case encoding
        /// The turn's first text goes to the queue, step by step.
        case tokenizing(TextEncoding)
        /// Rows from the queue go through the decoder; the first of them is the prompt's row `firstRow`.
        case prefilling(Prefill, firstRow: Int)
        /// The whole prompt went through the decoder; the last row predicts the answer's first token.
        case done(lastRow: Tensor)
    }

    private let checkpoint: Checkpoint
    private let options: SessionOptions
    private let schedule: ExtractionSchedule?
    private let limits: SessionLimits

    private var state = State.encoding
    private(set) var turn = Turn()
    private var queue = PromptQueue()
    private var isAdapterSettled: Bool
    /// Whether the template's beginning was taken, and the system prompt with it.
    private(set) var hasBegun = false

    /// Where the media stand in the prompt, as far as they were encoded.
    let media: GrowingBuffer<MediaSpan>
    /// For each block of the extractor, the media tokens that it kept, by their places in the prompt.
    private(set) var kept: [GrowingBuffer<Int32>] = []
    private(set) var promptTokens = 0
    private(set) var mediaTokens = 0
    private(set) var timings = Timings()
    private(set) var progress = SessionProgress()
    /// Recordings of speech and sounds that were fed.
    var recordingsFed = 0
    /// Windows, images, videos and sounds that were encoded, and of the media that were taken.
    private var encodedUnits = 0
    private var takenUnits = 0
    /// Rows that went through a layer, counted for each layer.
    private var prefilledRows = 0

    init(_ checkpoint: Checkpoint, _ options: SessionOptions, media: GrowingBuffer<MediaSpan> = GrowingBuffer()) {
        self.checkpoint = checkpoint
        self.options = options
        schedule = options.schedule(checkpoint)
        limits = SessionLimits(options, checkpoint.decoder, schedule: schedule)
        isAdapterSettled = options.adapter != .automatic
        self.media = media
    }

    /// Goes on with a turn that was saved while it was being fed.
    convenience init(
        _ checkpoint: Checkpoint, _ options: SessionOptions, rest: Turn.Rest, promptTokens: Int,
        media: GrowingBuffer<MediaSpan>
    ) {
        self.init(checkpoint, options, media: media)
        turn = Turn(rest)
        hasBegun = true
        self.promptTokens = promptTokens
        mediaTokens = media.elements.reduce(0) { $0 + $1.tokens }
    }

    /// What a state file keeps; nil while something waits to be encoded or prefilled.
    var rest: Turn.Rest? {
        guard case .encoding = state, queue.count == 0 else { return nil }
        return turn.rest
    }

    /// The prompt's last row, once all of it went through the decoder.
    var lastRow: Tensor? { if case .done(let row) = state { row } else { nil } }

    func add(_ item: TurnItem) { turn.add(item) }

    /// Ends the user's content.
    func close() {
        turn.close()
        progress = SessionProgress(phase: .encode)
    }

    /// One short piece of work.
    ///
    /// - Returns: false if nothing can be done before more is fed, or the turn is closed
    func step(_ conversation: inout Conversation, system: String) throws -> Bool {
        let start = milliseconds()
        let current = state
        state = .encoding  // what works is held once, so that it changes in place
        switch consume current {
        case .prefilling(let prefill, let firstRow):
            defer { timings.prefill += milliseconds() - start }
            try prefillStep(prefill, firstRow: firstRow, conversation)
            return true
        case .tokenizing(let encoding):
            defer { timings.encode += milliseconds() - start }
            try tokenizeStep(encoding, &conversation)
            return true
        case .encoding:
            defer { timings.encode += milliseconds() - start }
            return try encodingStep(&conversation, system: system)
        case .done(let row):
            state = .done(lastRow: row)
            return false
        }
    }

    private func encodingStep(_ conversation: inout Conversation, system: String) throws -> Bool {
        try settleAdapter(&conversation)
        try collect(&conversation, system: system)
        if case .tokenizing = state { return true }
        if queue.count >= Prefill.chunkRows, try beginPrefill(conversation) { return true }
        if try encodeStep(conversation) { return true }
        return try beginPrefill(conversation)
    }

    // MARK: Encoding

    /// - Returns: whether something was done
    private func encodeStep(_ conversation: Conversation) throws -> Bool {
        for medium in nextMedia {
            try limits.check(conversation, held: heldBytes, rows: rowsToCome)
            let step = try medium.step(isComplete: turn.isClosed)
            if case .waiting = step { continue }
            if case .finished = step { encodedUnits += 1 }
            progress = SessionProgress(phase: .encode, done: encodedUnits, total: totalUnits)
            return true
        }
        return false
    }

    /// The media to encode, in their order. Where the adapter depends on it, the first window of every recording is
    /// read before any is encoded: encoder outputs, which are larger than samples, then need not wait for the adapter.
    private var nextMedia: [any MediaEncoding] {
        if turn.isClosed, !isAdapterSettled {
            let unread = turn.recordings.filter { $0.hasSeveralWindows == nil }
            if !unread.isEmpty { return unread }
        }
        return turn.unfinished
    }

    /// Units of all media that were fed; 0 if that is not known.
    private var totalUnits: Int {
        var total = takenUnits
        for case .media(let medium) in turn.spans {
            guard let units = medium.expectedUnits else { return 0 }
            total += units
        }
        return max(total, encodedUnits)
    }

    /// Bytes of what is encoded and waits.
    private var heldBytes: Int {
        turn.spans.reduce(queue.byteCount) { sum, span in
            if case .media(let medium) = span { sum + medium.readyBytes } else { sum }
        }
    }

    /// Rows that are known to come, without those of text that is not tokenized.
    private var rowsToCome: Int {
        turn.spans.reduce(queue.count) { sum, span in
            guard case .media(let medium) = span else { return sum }
            return Self.sum(sum, medium.expectedRows ?? medium.readyRows)
        }
    }

    // MARK: Adapter

    /// `auto`: up from none to speech to long_speech with what this turn brings, never back. Before the turn's end the
    /// adapter is settled only once it is at the top.
    private func settleAdapter(_ conversation: inout Conversation) throws {
        guard !isAdapterSettled else { return }
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
                "the checkpoint has no adapter \(name)_lora for this recording; fix the session's adapter to use "
                    + "another"
            )
        }
        conversation.adapter = index
    }

    // MARK: Collecting rows

    /// Moves what is ready into the queue, in the prompt's order, up to a text that takes steps of its own.
    private func collect(_ conversation: inout Conversation, system: String) throws {
        guard isAdapterSettled, turn.hasSomethingWhole else { return }
        if !hasBegun { try begin(&conversation, system: system) }
        while let span = turn.spans.first {
            switch span {
            case .text(let segments):
                guard turn.hasWholeText else { return }
                turn.removeFirst()
                try tokenizeStep(checkpoint.tokenizer.encoding(of: segments), &conversation)
                if case .tokenizing = state { return }
            case .media(let medium):
                for part in try medium.take(adapter: conversation.adapter) {
                    try append(part, of: medium, to: &conversation)
                }
                guard medium.isDone else { return }
                takenUnits += medium.expectedUnits ?? 0
                turn.removeFirst()
            }
        }
    }

    /// Tokenizes a part of a text, up to all of a short one, and checks the limits.
    private func tokenizeStep(_ encoding: consuming TextEncoding, _ conversation: inout Conversation) throws {
        let ids = GrowingBuffer<Int32>()
        try encoding.step(into: ids)
        try append(ids, to: &conversation)
        // Of what is not tokenized, the fewest tokens that it can become.
        let fewest = encoding.isDone ? 0 : encoding.fewestTokens
        try limits.check(conversation, held: heldBytes, rows: Self.sum(rowsToCome, fewest))
        if !encoding.isDone { state = .tokenizing(encoding) }
    }

    private static func sum(_ a: Int, _ b: Int) -> Int {
        let (total, overflow) = a.addingReportingOverflow(b)
        return overflow ? .max : total
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
        try conversation.tokens.append(ids.elements)
        promptTokens += ids.count
        queue.append(ids, next: &conversation.nextPosition)
    }

    private func append(
        _ part: EncodedRows, of medium: any MediaEncoding, to conversation: inout Conversation
    ) throws {
        let count = part.rows.rows
        queue.append(part.rows, medium.layout, next: &conversation.nextPosition)
        var span = MediaSpan(
            kind: medium.kind, first: promptTokens, tokens: count, time: count, height: 1, width: 1, start: part.start,
            seconds: part.seconds)
        if case .grid(let time, let height, let width) = medium.layout {
            (span.time, span.height, span.width) = (time, height, width)
        }
        promptTokens += count
        mediaTokens += count
        if let last = media.elements.last, last.isContinued(by: span) {
            media[media.count - 1].extend(by: span)
        } else {
            try media.append(span)
        }
    }

    // MARK: Prefilling

    /// Whether nothing of the turn is left outside of the queue.
    private var isWhole: Bool { turn.isClosed && turn.spans.isEmpty }

    /// Begins with what is ready, if the decoder may have it.
    private func beginPrefill(_ conversation: Conversation) throws -> Bool {
        guard queue.count > 0, isAdapterSettled, schedule == nil || isWhole else { return false }
        // All at once are held twice: as they wait, and as the hidden states they become.
        let rowBytes = checkpoint.configuration.language.hiddenSize * MemoryLayout<Float>.stride
        let held = schedule == nil ? heldBytes : 2 * queue.count * rowBytes
        try limits.check(conversation, held: held, rows: rowsToCome)
        let limit = schedule == nil ? Prefill.chunkRows : Int.max
        let firstRow = promptTokens - queue.count
        let (embeddings, positions, roles) = try queue.take(limit, checkpoint.decoder)
        let begun = try Prefill(
            checkpoint.decoder, embeddings: embeddings, positions: positions.elements, roles: roles.elements,
            schedule: schedule)
        try limits.check(conversation, held: held, adding: begun)
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
        kept = try prefill.kept.map { try GrowingBuffer(copying: $0.elements.lazy.map { $0 + first }) }
        if isWhole, queue.count == 0 { state = .done(lastRow: try prefill.lastRow(checkpoint.decoder)) }
    }
}

extension MediaSpan {
    /// Whether `next` is the following part of the same recording.
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
