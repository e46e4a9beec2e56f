import LyraBase
import LyraMedia
import LyraModel
import LyraTensor
import LyraText

/// A conversation with a model: feed a turn, end it, step until the end event, read the output.
///
/// Not for concurrent use; only `control` may be used from other threads.
public final class Session {
    /// The session's activity. Each state owns the data it works on.
    private enum State {
        /// No turn is in progress; the record is of the last one.
        case idle(TurnRecord)
        /// The user's turn is being fed; steps process what was fed so far. `discarded` is why the previous turn was
        /// discarded while it was being fed; `none` if it was not.
        case feeding(PromptIntake, discarded: StopReason)
        /// The whole turn was fed; steps encode its media and prefill its prompt.
        case reading(PromptIntake)
        /// Steps generate text and speech.
        case answering(Answer, PromptIntake)
    }

    public let model: Model
    /// Stops or cancels the turn, from any thread.
    public let control = TurnControl()
    var options: SessionOptions
    var conversation: Conversation
    private var state = State.idle(TurnRecord())

    private var text = OutputQueue<UInt8>()
    private var audio = OutputQueue<Float>()
    private var tokens = OutputQueue<Int32>()
    private var units = OutputQueue<Int32>()

    /// - Throws: `LyraError.argument` for an option out of range or an unknown adapter, `LyraError.missing` if speech
    ///   is requested and the model has no speech output.
    public init(_ model: Model, options: SessionOptions = SessionOptions()) throws {
        try options.check()
        self.model = model
        self.options = options
        conversation = try Session.newConversation(model, options)
        if options.speaks { _ = try model.checkpoint.speechOutput() }
    }

    deinit {
        // Releases the session's own buffers to the pool before the pool is trimmed.
        becomeIdle(TurnRecord())
        conversation.clear()
        BufferPool.trim()
    }

    static func newConversation(_ model: Model, _ options: SessionOptions) throws -> Conversation {
        let checkpoint = model.checkpoint
        var conversation = Conversation(
            caches: checkpoint.decoder.makeCaches(type: options.keyValueType), tokens: GrowingBuffer(),
            sampler: options.sampler(checkpoint.generationDefaults))
        if case .named(let name) = options.adapter {
            guard let index = checkpoint.adapterIndex(name) else {
                throw LyraError(
                    .argument,
                    "there is no adapter \(shown(name)); this model has "
                        + checkpoint.adapters.map { shown($0) }.joined(separator: ", "))
            }
            conversation.adapter = index
        }
        return conversation
    }

    /// Discards the conversation in any state; options and system prompt stay.
    public func reset() throws { begin(try Session.newConversation(model, options)) }

    /// Replaces the conversation.
    ///
    /// - Parameter media: media of its last turn
    func begin(_ conversation: Conversation, media: GrowingBuffer<MediaSpan> = GrowingBuffer()) {
        self.conversation = conversation
        becomeIdle(TurnRecord(media: media))
        clearOutput()
        BufferPool.trim()
    }

    /// Continues a turn that was saved while it was being fed.
    func beginRestoredTurn(_ intake: PromptIntake) {
        control.begin()
        state = .feeding(intake, discarded: .none)
    }

    public var systemPrompt: String { options.systemPrompt }

    /// - Throws: `LyraError.state` once a turn has ended or steps have begun to compute it.
    public func setSystemPrompt(_ prompt: String) throws {
        try requireNoAnswer("changing the system prompt")
        guard conversation.answerEnded == nil, fed?.hasBegun != true else {
            throw LyraError(.state, "the system prompt cannot change within a conversation; reset it first")
        }
        options.systemPrompt = prompt
    }

    /// Whether answers include speech.
    public var speaks: Bool { options.speaks }

    /// Enables or disables speech from the next turn on.
    ///
    /// - Throws: `LyraError.missing` if the model has no speech output, `.state` during an answer.
    public func setSpeaks(_ speaks: Bool) throws {
        try requireNoAnswer("turning spoken answers on or off")
        if speaks { _ = try model.checkpoint.speechOutput() }
        options.speaks = speaks
    }

    /// Whether a turn has ended and its answer has not.
    public var isAnswering: Bool { isAnswerDue }

    /// Whether the user's turn has ended and its answer has not: the prompt is being read, or text and speech are being
    /// generated.
    private var isAnswerDue: Bool {
        switch state {
        case .idle, .feeding: false
        case .reading, .answering: true
        }
    }

    /// The saved form of the turn that is being fed; nil while something that was fed waits to be computed.
    var savedTurn: Turn.Saved? { if let fed { fed.saved } else { Turn().saved } }

    /// The turn that is being fed.
    var fed: PromptIntake? { if case .feeding(let intake, _) = state { intake } else { nil } }

    /// The turn in progress.
    private var intake: PromptIntake? {
        switch state {
        case .idle: nil
        case .feeding(let intake, _), .reading(let intake), .answering(_, let intake): intake
        }
    }

    /// The conversation before the first feed of the turn in progress.
    var beforeTurn: Conversation.Mark? { intake?.before }

    // MARK: Feeding

    /// Begins a call that is not possible during an answer. A turn being fed whose end was requested is discarded.
    ///
    /// - Parameter action: completes "before", for the message
    /// - Throws: `LyraError.state` during an answer.
    func requireNoAnswer(_ action: String) throws {
        guard !isAnswerDue else {
            throw LyraError(.state, "an answer is in progress; step to its end, stop it or cancel it before \(action)")
        }
        obeyRequest()
    }

    /// Runs `body` to add to the turn. The first feed begins a turn.
    ///
    /// - Throws: any error of `body`; `LyraError.state` during an answer, or if another thread requests the end of the
    ///   turn meanwhile, which discards the turn.
    func feeding(_ body: (PromptIntake) throws -> Void) throws {
        defer { trimIfIdle() }
        try requireNoAnswer("feeding more")
        try feed(by: body)
    }

    private func feed(by body: (PromptIntake) throws -> Void) throws {
        let before = state, intake = openIntake()
        try whileFed {
            try body(intake)
        } onError: {
            guard intake.turn.isEmpty else { return }
            state = before
            control.end()
        }
    }

    /// The turn that is being fed, or a new one.
    private func openIntake() -> PromptIntake {
        if let fed { return fed }
        control.begin()
        let intake = PromptIntake(model.checkpoint, options, before: conversation.mark())
        state = .feeding(intake, discarded: record.discardReason)
        return intake
    }

    /// Works on the turn that is being fed. If another thread has requested the turn's end, discards the turn and
    /// reports that instead of the result or error of the work.
    private func whileFed<R>(_ work: () throws -> R, onError undo: () -> Void) throws -> R {
        try checkStillFed()
        let result = Result { try work() }
        try checkStillFed()
        if case .failure = result { undo() }
        return try result.get()
    }

    /// - Throws: `LyraError.state` if another thread requested the end of the turn that is being fed; the turn is then
    ///   discarded.
    private func checkStillFed() throws {
        guard let reason = obeyRequest() else { return }
        throw LyraError(
            .state,
            "the turn was \(reason == .cancelled ? "cancelled" : "stopped") while it was being fed: its input "
                + "is discarded; feed it again")
    }

    /// Ends the user's turn; `step` then makes the answer.
    ///
    /// - Throws: `LyraError.state` if nothing was fed or an answer is already in progress.
    public func endTurn() throws {
        try requireNoAnswer("ending another turn")
        guard let fed, !fed.turn.isEmpty else {
            throw LyraError(.state, "there is nothing to answer: feed something first")
        }
        clearOutput()
        fed.close()
        state = .reading(fed)
    }

    // MARK: Running

    /// Does one short piece of work. While a turn is being fed, processes what was fed so far: encodes full windows of
    /// speech and, without an extractor, prefills them. If such a step returns no event, there is no work until more is
    /// fed.
    ///
    /// - Throws: `LyraError.state` if nothing was fed, or if another thread requested the end of a turn that is being
    ///   fed, which discards the turn. Any other error rolls the turn back and ends it.
    public func step() throws -> SessionEvents {
        // Runs after the work, whose locals keep the turn's buffers alive.
        defer { trimIfIdle() }
        return try control.interruption.during {
            if isAnswerDue { return try answerStep() }
            return try feedingStep()
        }
    }

    private func feedingStep() throws -> SessionEvents {
        guard let intake = fed, !intake.turn.isEmpty else {
            throw LyraError(.state, "no turn is in progress: feed something and end the turn")
        }
        let worked = try whileFed {
            try intake.step(&conversation, system: systemPrompt)
        } onError: {
            // The usage continues to report a turn that was discarded before this turn.
            discardTurn(record.usage.stop)
        }
        return worked ? .progress : []
    }

    private func answerStep() throws -> SessionEvents {
        if obeyRequest() != nil { return .end }
        do {
            return try work()
        } catch {
            // If a request interrupted the work, report the request instead of a failure.
            if obeyRequest() != nil { return .end }
            rollBack(.failed)
            throw error
        }
    }

    private func work() throws -> SessionEvents {
        switch state {
        case .idle, .feeding: return []
        case .reading(let intake):
            _ = try intake.step(&conversation, system: systemPrompt)
            if let lastRows = intake.lastRows { state = .answering(try makeAnswer(lastRows, intake), intake) }
            return .progress
        case .answering(let answer, _):
            return try answer.hasSpeechToMake ? speechStep(answer) : tokenStep(answer)
        }
    }

    private func makeAnswer(_ lastRows: Tensor, _ intake: PromptIntake) throws -> Answer {
        let room = try SessionLimits(options, model.checkpoint.decoder)
            .room(conversation, since: intake.before, limit: options.maxNewTokens ?? 1024)
        return try Answer(model.checkpoint, promptRows: lastRows, options: options, maxTokens: room)
    }

    private func tokenStep(_ answer: Answer) throws -> SessionEvents {
        let before = answer.tokens.count, new = try answer.generateToken(&conversation)
        return try take(new, of: answer, tokensBefore: before)
    }

    /// Queues the text of a new token, if there is one.
    private func take(_ new: String, of answer: Answer, tokensBefore before: Int) throws -> SessionEvents {
        var events = SessionEvents()
        if let token = answer.tokens.last, answer.tokens.count > before {
            if before == 0 { control.beginAnswer() }
            try tokens.append(token)
        }
        if !new.isEmpty {
            try text.append(new.utf8)
            events.insert(.text)
        }
        return events.union(endIfDone(answer))
    }

    private func speechStep(_ answer: Answer) throws -> SessionEvents {
        var events = SessionEvents()
        let made = try answer.makeSpeech()
        try units.append(made.units)
        if !made.audio.isEmpty {
            try audio.append(made.audio)
            events.insert(.audio)
        }
        return events.union(endIfDone(answer))
    }

    // MARK: Running together with others

    /// The answer in progress.
    var currentAnswer: Answer? { if case .answering(let answer, _) = state { answer } else { nil } }

    /// What the next step can compute together with other sessions of the model; nil if it is something else, or if the
    /// turn's end was requested.
    var sharedToken: SharedToken? { control.isRequested ? nil : currentAnswer?.sharedToken(conversation) }
    var sharedSpeech: SharedSpeech? { control.isRequested ? nil : currentAnswer?.sharedSpeech }
    var canShareStep: Bool { sharedToken != nil || sharedSpeech != nil }

    /// How many tokens the answer has, and how many hidden states were spoken.
    var generated: (tokens: Int, rows: Int) { (currentAnswer?.tokens.count ?? 0, currentAnswer?.spokenRows ?? 0) }

    /// Continues as `step` does after the decoder ran: samples a token.
    func continueShared(_ decoded: SharedDecoding) throws -> SessionEvents {
        try control.interruption.during {
            try answering { answer in
                let before = answer.tokens.count
                let new = try answer.continueShared(decoded, &conversation)
                return try take(new, of: answer, tokensBefore: before)
            }
        }
    }

    /// Continues as `step` does after the speech generator made units.
    func takeUnits(_ made: SharedUnits) throws -> SessionEvents {
        try answering { answer in
            try answer.take(made)
            try units.append(made.units)
            return endIfDone(answer)
        }
    }

    /// Works on the answer; an error rolls the turn back and ends it.
    private func answering(_ body: (Answer) throws -> SessionEvents) throws -> SessionEvents {
        defer { trimIfIdle() }
        guard let answer = currentAnswer else { return [] }
        do { return try body(answer) } catch {
            if obeyRequest() != nil { return .end }
            rollBack(.failed)
            throw error
        }
    }

    private func endIfDone(_ answer: Answer) -> SessionEvents {
        // A request that arrives during the last step is obeyed by the next step.
        guard answer.isDone, control.tryEnd() else { return [] }
        answer.conclude(&conversation)
        finishTurn(answer.isStopped ? .stopped : answer.stop)
        return .end
    }

    // MARK: Ending

    /// Ends the turn in progress if another thread requested its end. All requests are obeyed here. After a stop, the
    /// speech of the generated text is completed first.
    ///
    /// - Returns: why the turn ended; nil if it continues
    @discardableResult
    private func obeyRequest() -> StopReason? {
        let request = control.current
        guard let reason = request.endReason else { return nil }
        switch state {
        case .idle:
            control.end()
            return nil
        case .feeding(let intake, _):
            if !intake.turn.isEmpty {
                let word = reason == .cancelled ? "cancelled" : "stopped"
                model.log(.info, "a turn was \(word) while it was being fed: its input is discarded")
            }
            discardTurn(reason)
        case .answering(let answer, _) where reason == .stopped && !answer.tokens.isEmpty:
            if answer.stopGenerating(), request == .stopRequested {
                control.beginFinishing()
                return nil
            }
            answer.conclude(&conversation)
            finishTurn(.stopped)
        case .reading, .answering:
            rollBack(reason)
        }
        return reason
    }

    /// Discards the turn that is being fed, with everything computed from it.
    private func discardTurn(_ reason: StopReason) {
        if let beforeTurn { conversation.restore(beforeTurn) }
        becomeIdle(TurnRecord(discarded: reason))
    }

    /// Ends the turn and restores the conversation to its state before the turn's first feed.
    private func rollBack(_ reason: StopReason) {
        if let beforeTurn { conversation.restore(beforeTurn) }
        clearOutput()
        finishTurn(reason, isRolledBack: true)
    }

    private func finishTurn(_ reason: StopReason, isRolledBack: Bool = false) {
        var record = record
        record.usage.stop = reason
        record.usage.adapter = adapterName
        if isRolledBack { record.clearPrompt() }
        becomeIdle(record)
    }

    private func becomeIdle(_ record: TurnRecord) {
        state = .idle(record)
        control.end()
    }

    /// Trims the pool once no turn uses it.
    private func trimIfIdle() { if case .idle = state { BufferPool.trim() } }

    private func clearOutput() {
        text.removeAll()
        audio.removeAll()
        tokens.removeAll()
        units.removeAll()
    }

    private var adapterName: String? { conversation.adapter.map { model.checkpoint.adapters[$0] } }

    // MARK: Reading results

    /// Progress of the turn.
    public var progress: SessionProgress {
        switch state {
        case .idle: SessionProgress()
        case .feeding(let intake, _), .reading(let intake): intake.progress
        case .answering(let answer, _):
            SessionProgress(phase: .answer, done: answer.tokens.count, total: answer.maxTokens)
        }
    }

    /// Media and statistics of the turn in progress so far, or of the last turn.
    private var record: TurnRecord {
        switch state {
        case .idle(let record): return record
        case .feeding(let intake, let discarded):
            var record = TurnRecord(intake)
            // A turn with a pending request counts as discarded already.
            record.usage.stop = control.current.endReason ?? discarded
            return record
        case .reading(let intake): return TurnRecord(intake)
        case .answering(let answer, let intake): return TurnRecord(intake, answer)
        }
    }

    /// Cost of the turn in progress so far, or of the last turn.
    public var usage: Usage {
        let record = record
        var usage = record.usage
        usage.keptPerBlock = record.kept.map(\.count)
        usage.cacheBytes = conversation.cacheBytes
        if let beforeTurn {
            usage.cacheBytes += beforeTurn.bytesHeld(conversation.caches)
            usage.adapter = adapterName
        }
        return usage
    }

    /// Whether `AnswerEvents` has yet to deliver the end of the last turn.
    var isEndPending: Bool {
        get { if case .idle(let record) = state { record.isEndPending } else { false } }
        set {
            guard case .idle(var record) = state else { return }
            record.isEndPending = newValue
            state = .idle(record)
        }
    }

    /// Spans of the media encoded so far, in the prompt of the turn in progress or of the last one.
    public var media: [MediaSpan] { Array(record.media) }

    /// Number of spans in `media`.
    public var mediaCount: Int { record.media.count }

    /// One span of `media`.
    ///
    /// - Parameter index: below `mediaCount`
    public func medium(_ index: Int) -> MediaSpan { record.media[index] }

    /// For each extractor block, the media tokens that were kept, as indices into the turn's prompt; empty without an
    /// extractor.
    public var kept: [[Int32]] { record.kept.map { Array($0) } }

    /// Number of blocks in `kept`.
    public var keptBlocks: Int { record.kept.count }

    /// Passes one block of `kept` to `body` without a copy.
    ///
    /// - Parameter block: below `keptBlocks`
    public func withKept<R>(block: Int, _ body: (UnsafeBufferPointer<Int32>) throws -> R) rethrows -> R {
        let kept = record.kept[block]
        defer { withExtendedLifetime(kept) {} }
        return try body(UnsafeBufferPointer(kept.elements))
    }

    /// Removes and returns at most `limit` bytes of text, in whole UTF-8 characters.
    public func readText(limit: Int = .max) -> [UInt8] { text.read(wholeCharacters(limit: limit)) }

    /// Length in bytes of the longest unread text of whole characters within `limit` bytes.
    private func wholeCharacters(limit: Int) -> Int {
        var end = min(max(limit, 0), text.count)
        // Step back to the start of a character: continuation bytes are 10xxxxxx.
        while end > 0, end < text.count, text[end] & 0xc0 == 0x80 { end -= 1 }
        return end
    }

    /// Moves text to `buffer`, in whole UTF-8 characters. → number of bytes
    public func readText(into buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
        move(wholeCharacters(limit: buffer.count), of: &text, to: buffer)
    }

    public var hasText: Bool { !text.isEmpty }

    /// Removes and returns at most `limit` samples, mono at the vocoder's rate.
    public func readAudio(limit: Int = .max) -> [Float] { audio.read(limit) }

    /// Moves as many samples to `buffer` as fit. → number of samples
    public func readAudio(into buffer: UnsafeMutableBufferPointer<Float>) -> Int {
        move(.max, of: &audio, to: buffer)
    }

    /// Removes and returns ids of the answer's tokens, including the end token.
    public func readTokens(limit: Int = .max) -> [Int32] { tokens.read(limit) }

    /// Moves as many ids to `buffer` as fit. → number of ids
    public func readTokens(into buffer: UnsafeMutableBufferPointer<Int32>) -> Int {
        move(.max, of: &tokens, to: buffer)
    }

    /// Removes and returns speech units of the answer.
    public func readUnits(limit: Int = .max) -> [Int32] { units.read(limit) }

    /// Moves as many units to `buffer` as fit. → number of units
    public func readUnits(into buffer: UnsafeMutableBufferPointer<Int32>) -> Int {
        move(.max, of: &units, to: buffer)
    }
}

/// Moves at most `limit` elements to a caller's buffer, as many as fit. → number of elements
private func move<Element>(
    _ limit: Int, of queue: inout OutputQueue<Element>, to buffer: UnsafeMutableBufferPointer<Element>
) -> Int {
    let elements = queue.prefix(min(limit, buffer.count)), count = elements.count
    _ = buffer.update(fromContentsOf: elements)
    queue.removeFirst(count)
    return count
}
