import LyraBase
import LyraModel
import LyraTensor
import LyraText

/// The user's turn on its way into the caches: media are encoded window by window, and what is ready is prefilled.
///
/// Without an extractor the prompt goes through the decoder in pieces as it becomes ready, also while it is still being
/// fed, so that only a piece of it is held, however long a recording is. With one, all of it goes at once, because the
/// extractor weighs all media against the text that follows them.
struct PromptIntake {
    private let checkpoint: Checkpoint
    private let options: SessionOptions
    private let schedule: ExtractionSchedule?
    private let limits: SessionLimits

    private(set) var turn = Turn()
    private var queue = PromptQueue()
    /// The first text of the turn while it is tokenized.
    private var encoding: TextEncoding?
    private var prefill: Prefill?
    /// The place in the prompt of the prefill's first row.
    private var firstRow = 0
    /// The prompt's last row, once all went through the decoder.
    private(set) var lastRow: Tensor?
    private var isOpened: Bool
    private var isAdapterSettled: Bool

    /// Where the media stand in the prompt, as far as they were encoded.
    let media: GrowingBuffer<MediaSpan>
    /// For each block of the extractor, the media tokens left after it, by their places in the prompt.
    private(set) var kept: [GrowingBuffer<Int32>] = []
    private(set) var promptTokens = 0
    private(set) var mediaTokens = 0
    private(set) var timings = Timings()
    private var unitsDone = 0
    private var rowsDone = 0
    private(set) var progress = SessionProgress(phase: .encode)

    init(
        _ checkpoint: Checkpoint, _ options: SessionOptions, media: GrowingBuffer<MediaSpan> = GrowingBuffer()
    ) {
        self.checkpoint = checkpoint
        self.options = options
        schedule = options.schedule(checkpoint)
        limits = SessionLimits(options, checkpoint.decoder, schedule: schedule)
        isAdapterSettled = options.adapter != .automatic
        isOpened = false
        self.media = media
    }

    /// Goes on with a turn that was saved while it was being fed.
    init(
        _ checkpoint: Checkpoint, _ options: SessionOptions, rest: Turn.Rest, promptTokens: Int,
        media: GrowingBuffer<MediaSpan>
    ) {
        self.init(checkpoint, options, media: media)
        turn = Turn(rest)
        isOpened = true
        self.promptTokens = promptTokens
        mediaTokens = media.elements.reduce(0) { $0 + $1.tokens }
    }

    var isEmpty: Bool { turn.isEmpty }
    /// What a state file keeps; nil while something waits to be encoded or prefilled.
    var rest: Turn.Rest? { queue.count == 0 && prefill == nil ? turn.rest : nil }
    /// Whether the template's beginning was taken, and the system prompt with it.
    var hasBegun: Bool { isOpened }

    mutating func add(_ item: TurnItem) { turn.add(item) }

    /// Ends the user's content.
    mutating func close() { turn.close() }

    /// One short piece of work.
    ///
    /// - Returns: false if nothing can be done before more is fed, or the turn is closed
    mutating func step(_ conversation: inout Conversation, system: String) throws -> Bool {
        let start = milliseconds()
        if prefill != nil {
            defer { timings.prefill += milliseconds() - start }
            try prefillStep(conversation)
            return true
        }
        defer { timings.encode += milliseconds() - start }
        try settleAdapter(&conversation)
        if try collect(&conversation, system: system) { return true }
        if queue.count >= Prefill.chunkRows, try beginPrefill(conversation) { return true }
        if try encodeStep(conversation) { return true }
        return try beginPrefill(conversation)
    }

    // MARK: Encoding

    /// - Returns: whether something was done
    private mutating func encodeStep(_ conversation: Conversation) throws -> Bool {
        for medium in turn.unfinished {
            try limits.check(conversation, held: heldBytes, rows: rowsToCome)
            let step = try medium.step(isComplete: turn.isClosed)
            if case .waiting = step { continue }
            if case .finished = step { unitsDone += 1 }
            progress = SessionProgress(phase: .encode, done: unitsDone, total: totalUnits)
            return true
        }
        return false
    }

    /// Units of all media that were fed; 0 if that is not known.
    private var totalUnits: Int {
        var total = finishedUnits
        for case .media(let medium) in turn.spans {
            guard let units = medium.expectedUnits else { return 0 }
            total += units
        }
        return max(total, unitsDone)
    }

    /// Units of the media that were taken.
    private var finishedUnits = 0

    /// Bytes of what is encoded and waits.
    private var heldBytes: Int {
        turn.spans.reduce(queue.byteCount) { sum, span in
            if case .media(let medium) = span { sum + medium.readyBytes } else { sum }
        }
    }

    /// Rows that are known to come; text counts once it is tokenized, and while it is with the fewest that it can
    /// become.
    private var rowsToCome: Int {
        turn.spans.reduce(queue.count + (encoding?.fewestTokens ?? 0)) { sum, span in
            guard case .media(let medium) = span else { return sum }
            let (total, overflow) = sum.addingReportingOverflow(medium.expectedRows ?? medium.readyRows)
            return overflow ? .max : total
        }
    }

    // MARK: Adapter

    /// `auto`: up from none to speech to long_speech with what this turn brings, never back. Before the turn's end it
    /// is settled only once it is at the top.
    private mutating func settleAdapter(_ conversation: inout Conversation) throws {
        guard !isAdapterSettled else { return }
        let long = checkpoint.adapterIndex("long_speech")
        if let long, conversation.adapter == long {
            isAdapterSettled = true
            return
        }
        if turn.isClosed {
            for recording in turn.recordings {
                try recording.readFirstWindow()
                if recording.hasSeveralWindows == true { break }
            }
        }
        let isLong = turn.recordings.contains { $0.hasSeveralWindows ?? false }
        guard isLong || turn.isClosed else { return }
        isAdapterSettled = true
        guard !turn.recordings.isEmpty else { return }
        let name = isLong ? "long_speech" : "speech"
        guard let index = checkpoint.adapterIndex(name) else {
            throw LyraError(
                .missing,
                "the checkpoint has no adapter \(name)_lora for this recording; fix the session's adapter to use another"
            )
        }
        conversation.adapter = index
    }

    // MARK: Collecting rows

    /// Moves what is ready into the queue, in the prompt's order.
    ///
    /// - Returns: whether a part of a text was, whose rest is next
    private mutating func collect(_ conversation: inout Conversation, system: String) throws -> Bool {
        guard isAdapterSettled, turn.hasSomethingWhole else { return false }
        if !isOpened { try open(&conversation, system: system) }
        while let span = turn.spans.first {
            switch span {
            case .text(let segments):
                guard turn.hasWholeText else { return false }
                guard try tokenize(segments, &conversation) else { return true }
            case .media(let medium):
                for part in try medium.take(adapter: conversation.adapter) {
                    try append(part, of: medium, to: &conversation)
                }
                guard medium.isDone else { return false }
                finishedUnits += medium.expectedUnits ?? 0
            }
            turn.removeFirst()
        }
        return false
    }

    /// A part of a text, up to all of a short one, checked against the limits before the next. → whether that was
    /// the last
    private mutating func tokenize(_ segments: [TextSegment], _ conversation: inout Conversation) throws -> Bool {
        var running = encoding ?? checkpoint.tokenizer.encoding(of: segments)
        encoding = nil  // held once while it works, so that it changes in place
        let ids = GrowingBuffer<Int32>()
        try running.step(into: ids)
        let isDone = running.isDone
        if !isDone { encoding = running }
        try append(ids, to: &conversation)
        try limits.check(conversation, held: heldBytes, rows: rowsToCome)
        return isDone
    }

    private mutating func open(_ conversation: inout Conversation, system: String) throws {
        isOpened = true
        try append(GrowingBuffer(copying: conversation.uncomputed), to: &conversation)
        conversation.uncomputed = []
        turn.open(
            with: conversation.answerEnded.map { [TextSegment(ChatTemplate.nextTurn(answerEnded: $0))] }
                ?? ChatTemplate.openingSegments(system: system))
    }

    private mutating func append(_ ids: GrowingBuffer<Int32>, to conversation: inout Conversation) throws {
        try conversation.tokens.append(ids.elements)
        promptTokens += ids.count
        queue.append(ids, next: &conversation.nextPosition)
    }

    private mutating func append(
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

    /// Begins with what is ready, if the decoder may have it.
    private mutating func beginPrefill(_ conversation: Conversation) throws -> Bool {
        let isWhole = turn.isClosed && turn.spans.isEmpty
        guard queue.count > 0, isAdapterSettled, schedule == nil || isWhole else { return false }
        // All at once are held twice: as they wait, and as the hidden states they become.
        let rowBytes = checkpoint.configuration.language.hiddenSize * MemoryLayout<Float>.stride
        let held = schedule == nil ? heldBytes : 2 * queue.count * rowBytes
        try limits.check(conversation, held: held, rows: rowsToCome)
        let limit = schedule == nil ? Prefill.chunkRows : Int.max
        firstRow = promptTokens - queue.count
        let (embeddings, positions, roles) = try queue.take(limit, checkpoint.decoder)
        let begun = try Prefill(
            checkpoint.decoder, embeddings: embeddings, positions: positions.elements, roles: roles.elements,
            schedule: schedule)
        try limits.check(conversation, held: held, adding: begun)
        prefill = begun
        return true
    }

    private mutating func prefillStep(_ conversation: Conversation) throws {
        guard var running = prefill else { return }
        prefill = nil  // held once while it works, so that it changes in place
        try running.step(checkpoint.decoder, caches: conversation.caches, adapter: conversation.adapter)
        let done = running.progress.done
        let layers = checkpoint.decoder.layerCount
        let isWhole = turn.isClosed && turn.spans.isEmpty
        progress = SessionProgress(
            phase: .prefill, done: rowsDone + done,
            total: isWhole ? rowsDone + running.progress.total + queue.count * layers : 0)
        guard running.isDone else {
            prefill = running
            return
        }
        rowsDone += done
        let first = Int32(firstRow)
        kept = try running.kept.map { try GrowingBuffer(copying: $0.elements.lazy.map { $0 + first }) }
        if isWhole, queue.count == 0 { lastRow = try running.lastRow(checkpoint.decoder) }
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
