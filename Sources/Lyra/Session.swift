import Glibc
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
        /// Nothing is fed.
        case idle
        /// The user's turn is being fed; steps process what was fed so far.
        case feeding(PromptIntake, before: Conversation.Mark)
        /// The whole turn was fed; steps encode its media and prefill its prompt.
        case reading(PromptIntake, before: Conversation.Mark)
        /// Steps generate text and speech.
        case answering(Answer, before: Conversation.Mark)
    }

    public let model: Model
    /// Stops or cancels the turn, from any thread.
    public let control = TurnControl()
    public internal(set) var systemPrompt: String
    var options: SessionOptions
    var conversation: Conversation
    private var state = State.idle
    /// Media and statistics of the turn in progress, or of the last one.
    private var record = TurnRecord()
    /// Why a turn was discarded while it was being fed; nil once the next turn ends.
    private var discardReason: StopReason?
    /// When the user's turn ended, in milliseconds.
    private var answerStart = 0.0

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
        systemPrompt = options.systemPrompt
        conversation = try Session.newConversation(model, options)
        if options.speaks { try Session.requireSpeech(model) }
    }

    deinit {
        // Releases the session's own buffers to the pool before the pool is trimmed.
        state = .idle
        conversation.clear()
        BufferPool.trim()
        control.end()
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
        becomeIdle()
        clearOutput()
        record = TurnRecord(media: media)
        discardReason = nil
        BufferPool.trim()
    }

    /// Continues a turn that was saved while it was being fed.
    func beginRestoredTurn(_ intake: PromptIntake, before: Conversation.Mark) {
        control.begin()
        state = .feeding(intake, before: before)
    }

    /// - Throws: `LyraError.state` once a turn has ended or steps have begun to compute it.
    public func setSystemPrompt(_ prompt: String) throws {
        if !isAnswering { obeyRequest() }
        guard conversation.answerEnded == nil, !isAnswering, fed?.hasBegun != true else {
            throw LyraError(.state, "the system prompt cannot change within a conversation; reset it first")
        }
        systemPrompt = prompt
    }

    /// Whether answers include speech.
    public var speaks: Bool { options.speaks }

    /// Enables or disables speech from the next turn on.
    ///
    /// - Throws: `LyraError.missing` if the model has no speech output, `.state` during an answer.
    public func setSpeaks(_ speaks: Bool) throws {
        guard !isAnswering else { throw LyraError(.state, "an answer is in progress; step to its end first") }
        if speaks { try Session.requireSpeech(model) }
        options.speaks = speaks
    }

    private static func requireSpeech(_ model: Model) throws {
        guard model.checkpoint.generator != nil else {
            throw LyraError(.missing, "this model does not speak: it has no speech generator")
        }
        _ = try model.checkpoint.vocoder.get()
    }

    /// Whether a turn has ended and its answer has not.
    public var isAnswering: Bool {
        switch state {
        case .idle, .feeding: false
        case .reading, .answering: true
        }
    }

    /// The saved form of the turn that is being fed; nil while something that was fed waits to be computed.
    var savedTurn: Turn.Saved? { if let fed { fed.saved } else { Turn().saved } }

    /// The turn that is being fed.
    var fed: PromptIntake? { if case .feeding(let intake, _) = state { intake } else { nil } }

    /// The conversation before the first feed of the turn in progress.
    var beforeTurn: Conversation.Mark? {
        switch state {
        case .idle: nil
        case .feeding(_, let before), .reading(_, let before), .answering(_, let before): before
        }
    }

    // MARK: Feeding

    /// Runs `body` to add to the turn. The first feed begins a turn.
    ///
    /// - Throws: any error of `body`; `LyraError.state` during an answer, or if another thread requests the end of the
    ///   turn meanwhile, which discards the turn.
    func feeding(_ body: (PromptIntake) throws -> Void) throws {
        defer { trimIfIdle() }
        try feed(by: body)
    }

    private func feed(by body: (PromptIntake) throws -> Void) throws {
        let intake = try intakeForFeeding()
        do { try body(intake) } catch {
            // If a request interrupted the work, report the request instead of a failure.
            try checkStillFed()
            if intake.turn.isEmpty { becomeIdle() }
            throw error
        }
        try checkStillFed()
    }

    private func intakeForFeeding() throws -> PromptIntake {
        guard !isAnswering else {
            throw LyraError(
                .state, "an answer is in progress; step to its end, stop it or cancel it before feeding more")
        }
        obeyRequest()
        if let fed { return fed }
        control.begin()
        let intake = PromptIntake(model.checkpoint, options)
        state = .feeding(intake, before: conversation.mark())
        record.usage.stop = discardReason ?? .none
        return intake
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
        guard !isAnswering else {
            throw LyraError(.state, "the turn has ended already; step to the end of its answer")
        }
        obeyRequest()
        guard case .feeding(let intake, let before) = state, !intake.turn.isEmpty else {
            throw LyraError(.state, "there is nothing to answer: feed something first")
        }
        clearOutput()
        answerStart = milliseconds()
        intake.close()
        record = TurnRecord(intake)
        record.usage.cachedTokens = before.lengths.first ?? 0
        discardReason = nil
        state = .reading(intake, before: before)
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
            if isAnswering { return try answerStep() }
            return try feedingStep()
        }
    }

    private func feedingStep() throws -> SessionEvents {
        guard let intake = fed, !intake.turn.isEmpty else {
            throw LyraError(.state, "no turn is in progress: feed something and end the turn")
        }
        try checkStillFed()
        let worked: Bool
        do { worked = try intake.step(&conversation, system: systemPrompt) } catch {
            // If a request interrupted the work, report the request instead of a failure.
            try checkStillFed()
            discardTurn()
            throw error
        }
        if worked { record.media = intake.media }
        try checkStillFed()
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
        let start = milliseconds()
        switch state {
        case .idle, .feeding: return []
        case .reading(let intake, let before):
            defer { record.update(from: intake) }
            _ = try intake.step(&conversation, system: systemPrompt)
            if let lastRow = intake.lastRow { state = .answering(try makeAnswer(lastRow), before: before) }
            return .progress
        case .answering(let answer, _):
            if answer.hasSpeechToMake {
                defer { record.usage.timings.speech += milliseconds() - start }
                return try speechStep(answer)
            }
            defer { record.usage.timings.decode += milliseconds() - start }
            return try tokenStep(answer)
        }
    }

    private func makeAnswer(_ lastRow: Tensor) throws -> Answer {
        let room = SessionLimits(options, model.checkpoint.decoder)
            .room(conversation, limit: options.maxNewTokens ?? 1024)
        guard room > 0 else {
            throw LyraError(
                .memory,
                "the prompt has \(conversation.length) tokens and a KV cache of \(conversation.cacheBytes) bytes; the "
                    + "limit leaves no room for an answer")
        }
        return try Answer(model.checkpoint, firstRow: lastRow, options: options, maxTokens: room)
    }

    private func tokenStep(_ answer: Answer) throws -> SessionEvents {
        var events = SessionEvents()
        let new = try answer.generateToken(&conversation)
        if let token = answer.tokens.last, answer.tokens.count > record.usage.generatedTokens {
            if record.usage.generatedTokens == 0 {
                control.beginAnswer()
                record.usage.timings.firstToken = milliseconds() - answerStart
            }
            record.usage.generatedTokens = answer.tokens.count
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
        record.usage.units += made.units.count
        if !made.audio.isEmpty {
            try audio.append(made.audio)
            if record.usage.audioSamples == 0 { record.usage.timings.firstAudio = milliseconds() - answerStart }
            record.usage.audioSamples += made.audio.count
            events.insert(.audio)
        }
        return events.union(endIfDone(answer))
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
    func obeyRequest() -> StopReason? {
        let request = control.current
        guard request.requestsEnd else { return nil }
        let reason = request == .cancelRequested ? StopReason.cancelled : .stopped
        switch state {
        case .idle:
            control.end()
            return nil
        case .feeding(let intake, _):
            if !intake.turn.isEmpty {
                let word = reason == .cancelled ? "cancelled" : "stopped"
                model.log(.info, "a turn was \(word) while it was being fed: its input is discarded")
            }
            discardTurn()
            record.usage = Usage()
            record.usage.stop = reason
            discardReason = reason
        case .answering(let answer, _) where reason == .stopped && !answer.tokens.isEmpty:
            if answer.stopGenerating(), request == .stopRequested {
                control.beginFinishing()
                return nil
            }
            answer.conclude(&conversation)
            finishTurn(.stopped)
        case .reading, .answering:
            if reason == .cancelled { clearOutput() }
            rollBack(reason)
        }
        return reason
    }

    /// Discards the turn that is being fed, with everything computed from it.
    private func discardTurn() {
        if let beforeTurn { conversation.restore(beforeTurn) }
        record.clearPrompt()
        becomeIdle()
    }

    /// Ends the turn and restores the conversation to its state before the turn's first feed.
    private func rollBack(_ reason: StopReason) {
        if let beforeTurn { conversation.restore(beforeTurn) }
        if reason == .failed { clearOutput() }
        record.clearPrompt()
        finishTurn(reason)
    }

    private func finishTurn(_ reason: StopReason) {
        record.usage.stop = reason
        record.usage.timings.total = milliseconds() - answerStart
        record.usage.adapter = adapterName
        becomeIdle()
    }

    private func becomeIdle() {
        state = .idle
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
        case .feeding(let intake, _), .reading(let intake, _): intake.progress
        case .answering(let answer, _):
            SessionProgress(phase: .answer, done: answer.tokens.count, total: answer.maxTokens)
        }
    }

    /// Cost of the turn in progress so far, or of the last turn.
    public var usage: Usage {
        var usage = record.usage
        usage.cacheBytes = conversation.cacheBytes
        if !isAnswering, control.current.requestsEnd {
            // A turn with a pending request counts as discarded already.
            usage.stop = control.current == .cancelRequested ? .cancelled : .stopped
        }
        if isAnswering {
            usage.timings.total = milliseconds() - answerStart
            usage.adapter = adapterName
        }
        return usage
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

/// A monotonic clock, in milliseconds.
func milliseconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) * 1e3 + Double(now.tv_nsec) / 1e6
}
