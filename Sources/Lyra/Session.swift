import Glibc
import LyraBase
import LyraMedia
import LyraModel
import LyraTensor
import LyraText

/// A conversation with a model: feed a turn, end it, step until the end event, read.
///
/// Not for concurrent use; only `control` may be used from other threads.
public final class Session {
    public let model: Model
    /// Stops or cancels the turn, from any thread.
    public let control = TurnControl()
    public internal(set) var systemPrompt: String
    /// What the turn in progress cost so far, or the last one in all.
    public var usage: Usage { currentUsage() }
    public private(set) var progress = SessionProgress()

    /// Where the media of the turn in progress, or of the last one, stand in its prompt, as far as they are encoded.
    public var media: [MediaSpan] { Array(mediaSpans.elements) }
    var mediaSpans = GrowingBuffer<MediaSpan>()
    /// For each block of the extractor, which of the turn's media tokens were left after it, by their places in the turn's
    /// prompt; empty without an extractor.
    public var kept: [[Int32]] { keptTokens.map { Array($0.elements) } }
    private var keptTokens: [GrowingBuffer<Int32>] = []

    var options: SessionOptions
    var conversation: Conversation
    /// What was fed of the turn; Feeding.swift has the functions that add to it.
    var intake: PromptIntake
    /// Recordings of speech and sounds that were fed of the turn.
    var recordingsFed = 0
    private var phase = Phase.feeding
    /// The conversation before the first feed of the turn.
    private(set) var beforeTurn: Conversation.Mark?
    private var spent = Usage()
    /// Whether `spent.stop` says why a turn that was being fed was dropped: until the next turn ends.
    private var saysWhyDropped = false
    private var turnStart = 0.0

    private var text = OutputQueue<UInt8>()
    private var audio = OutputQueue<Float>()
    private var tokens = OutputQueue<Int32>()
    private var units = OutputQueue<Int32>()

    private enum Phase {
        case feeding
        /// The whole turn was fed and is encoded and prefilled.
        case reading
        case answering(Answer)

        var isFeeding: Bool { if case .feeding = self { true } else { false } }
    }

    /// - Throws: `LyraError.argument` for an option out of its range or an unknown adapter, `LyraError.missing` if answers
    ///   are to be spoken and the model cannot.
    public init(_ model: Model, options: SessionOptions = SessionOptions()) throws {
        try options.check()
        self.model = model
        self.options = options
        systemPrompt = options.systemPrompt
        conversation = try Session.newConversation(model, options)
        intake = PromptIntake(model.checkpoint, options)
        if options.speaks { try Session.requireSpeech(model) }
    }

    deinit {
        // What a turn holds goes to the pool before that is emptied.
        dropTurn()
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
                    "there is no adapter \"\(name)\"; this model has "
                        + checkpoint.adapters.map { shown($0) }.joined(separator: ", "))
            }
            conversation.adapter = index
        }
        return conversation
    }

    /// Forgets the conversation, whatever the session is doing; options and system prompt stay.
    public func reset() throws { begin(try Session.newConversation(model, options)) }

    /// Goes on with another conversation in place of this one.
    func begin(_ conversation: Conversation) {
        self.conversation = conversation
        dropTurn()
        clearOutput()
        spent = Usage()
        saysWhyDropped = false
        (mediaSpans, keptTokens) = (GrowingBuffer(), [])
        BufferPool.trim()
    }

    /// - Throws: `LyraError.state` once a turn has ended, or steps have begun to compute it.
    public func setSystemPrompt(_ prompt: String) throws {
        if phase.isFeeding { obeyRequestWhileFed() }
        guard conversation.answerEnded == nil, phase.isFeeding, !intake.hasBegun else {
            throw LyraError(.state, "the system prompt cannot change within a conversation; reset it first")
        }
        systemPrompt = prompt
    }

    /// Whether answers are spoken as well.
    public var speaks: Bool { options.speaks }

    /// Has answers spoken as well from the next turn on, or no more.
    ///
    /// - Throws: `LyraError.missing` if the model cannot, `.state` while an answer is being made.
    public func setSpeaks(_ speaks: Bool) throws {
        guard phase.isFeeding else { throw LyraError(.state, "an answer is being made; step to its end first") }
        if speaks { try Session.requireSpeech(model) }
        options.speaks = speaks
    }

    private static func requireSpeech(_ model: Model) throws {
        guard model.checkpoint.generator != nil else {
            throw LyraError(.missing, "this model does not speak: it has no speech generator")
        }
        _ = try model.checkpoint.vocoder.get()
    }

    /// Whether a turn has ended whose answer has not.
    public var isAnswering: Bool { !phase.isFeeding }

    // MARK: Running

    /// Ends the user's turn; `step` then makes the answer.
    ///
    /// - Throws: `LyraError.state` if nothing was fed or an answer is being made already.
    public func endTurn() throws {
        guard phase.isFeeding else {
            throw LyraError(.state, "the turn has ended already; step to the end of its answer")
        }
        obeyRequestWhileFed()
        guard !intake.isEmpty else { throw LyraError(.state, "there is nothing to answer: feed something first") }
        control.begin()
        clearOutput()
        turnStart = milliseconds()
        spent = Usage()
        saysWhyDropped = false
        spent.cachedTokens = beforeTurn?.lengths.first ?? 0
        // Not the last turn's, until the first step.
        (mediaSpans, keptTokens) = (intake.media, intake.kept)
        intake.close()
        progress = SessionProgress(phase: .encode)
        phase = .reading
    }

    /// Does one short piece of work. While a turn is still being fed, works ahead on what was fed: whole windows of speech are
    /// encoded, and without an extractor prefilled; no events mean that there is nothing to do before more is fed.
    ///
    /// - Throws: `LyraError.state` if nothing was fed, or the turn was asked to end while it was fed, which drops it; any
    ///   other error takes the turn back and ends it.
    public func step() throws -> SessionEvents {
        try control.interruption.during(boundStep)
    }

    private func boundStep() throws -> SessionEvents {
        guard !phase.isFeeding else { return try workAhead() }
        let events = try advance()
        if events.contains(.end) { BufferPool.trim() }
        return events
    }

    private func advance() throws -> SessionEvents {
        if let events = obeyRequest() { return events }
        do {
            return try work()
        } catch {
            // Work that was interrupted by the request is no failure.
            if let events = obeyRequest() { return events }
            takeBack(.failed)
            BufferPool.trim()
            throw error
        }
    }

    private func workAhead() throws -> SessionEvents {
        guard !intake.isEmpty else {
            throw LyraError(.state, "no turn is in progress: feed something and end the turn")
        }
        var worked = false
        do {
            if !control.isRequested {
                worked = try intake.step(&conversation, system: systemPrompt)
                progress = intake.progress
                if worked { mediaSpans = intake.media }
            }
        } catch {
            // Work that was interrupted by the request is no failure.
            guard control.isRequested else {
                takeBackFed()
                throw error
            }
        }
        try checkStillFed()
        return worked ? .progress : []
    }

    /// - Throws: `LyraError.state` if the turn that is being fed was asked to end; it is dropped then.
    private func checkStillFed() throws {
        guard let reason = obeyRequestWhileFed() else { return }
        throw LyraError(
            .state,
            "the turn was \(reason == .cancelled ? "cancelled" : "stopped") while it was fed: all that was fed of it is "
                + "dropped; feed it anew")
    }

    /// Drops the turn that is being fed if it was asked to end. → why, if so
    @discardableResult
    func obeyRequestWhileFed() -> StopReason? {
        guard control.isRequested else { return nil }
        let reason = control.current == .cancelRequested ? StopReason.cancelled : .stopped
        if !intake.isEmpty {
            let word = reason == .cancelled ? "cancelled" : "stopped"
            model.log(.info, "a turn was \(word) while it was fed: all that was fed of it is dropped")
        }
        takeBackFed()
        spent = Usage()
        spent.stop = reason
        saysWhyDropped = true
        return reason
    }

    /// A turn that is still being fed is dropped, with what was computed of it.
    private func takeBackFed() {
        if let beforeTurn { conversation.restore(beforeTurn) }
        (mediaSpans, keptTokens) = (GrowingBuffer(), [])
        dropTurn()
        BufferPool.trim()
    }

    /// Ends the turn if another thread asked for it; after a stop, speech of words that were said is completed first.
    private func obeyRequest() -> SessionEvents? {
        let request = control.current
        switch request {
        case .idle, .active, .answering, .finishing:
            return nil
        case .stopAtOnce, .stopRequested, .endRequested:
            guard case .answering(var answer) = phase, !answer.tokens.isEmpty else {
                takeBack(.stopped)
                return .end
            }
            if answer.stopSaying(), request == .stopRequested {
                phase = .answering(answer)
                control.beginFinishing()
                return nil
            }
            answer.conclude(&conversation)
            finishTurn(.stopped)
            return .end
        case .cancelRequested:
            clearOutput()
            takeBack(.cancelled)
            return .end
        }
    }

    private func work() throws -> SessionEvents {
        let start = milliseconds()
        switch phase {
        case .feeding:
            return []
        case .reading:
            try readStep()
            return .progress
        case .answering(var answer):
            phase = .feeding
            defer { if phase.isFeeding, beforeTurn != nil { phase = .answering(answer) } }
            if answer.hasSpeechToMake {
                defer { spent.timings.speech += milliseconds() - start }
                return try speechStep(&answer)
            }
            defer { spent.timings.decode += milliseconds() - start }
            return try tokenStep(&answer)
        }
    }

    private func readStep() throws {
        defer {
            (mediaSpans, keptTokens) = (intake.media, intake.kept)
            spent.read(intake)
        }
        _ = try intake.step(&conversation, system: systemPrompt)
        progress = intake.progress
        guard let lastRow = intake.lastRow else { return }
        let wanted = options.maxNewTokens ?? 1024
        let room = SessionLimits(options, model.checkpoint.decoder).room(conversation, wanted: wanted)
        guard room > 0 else {
            throw LyraError(
                .memory,
                "the prompt fills the limit with \(conversation.length) tokens of \(conversation.cacheBytes) bytes; there is "
                    + "no room for an answer")
        }
        progress = SessionProgress(phase: .answer, done: 0, total: room)
        phase = .answering(try Answer(model.checkpoint, firstRow: lastRow, options: options, maxTokens: room))
    }

    private func tokenStep(_ answer: inout Answer) throws -> SessionEvents {
        var events = SessionEvents()
        let new = try answer.sayToken(&conversation)
        if let token = answer.tokens.elements.last, answer.tokens.count > spent.generatedTokens {
            if spent.generatedTokens == 0 {
                control.beginAnswer()
                spent.timings.firstToken = milliseconds() - turnStart
            }
            spent.generatedTokens = answer.tokens.count
            progress.done = answer.tokens.count
            try tokens.append(token)
        }
        if !new.isEmpty {
            try text.append(new.utf8)
            events.insert(.text)
        }
        return events.union(endIfDone(answer))
    }

    private func speechStep(_ answer: inout Answer) throws -> SessionEvents {
        var events = SessionEvents()
        let made = try answer.makeSpeech()
        try units.append(made.units)
        spent.units += made.units.count
        let samples = made.audio.elements
        if !samples.isEmpty {
            try audio.append(samples)
            if spent.audioSamples == 0 { spent.timings.firstAudio = milliseconds() - turnStart }
            spent.audioSamples += samples.count
            events.insert(.audio)
        }
        return events.union(endIfDone(answer))
    }

    private func endIfDone(_ answer: Answer) -> SessionEvents {
        // A request that came during the last step is obeyed by the next.
        guard answer.isDone, control.tryEnd() else { return [] }
        answer.conclude(&conversation)
        finishTurn(answer.isStopped ? .stopped : answer.stop)
        return .end
    }

    // MARK: Ending

    private func finishTurn(_ reason: StopReason) {
        spent.stop = reason
        spent.timings.total = milliseconds() - turnStart
        spent.adapter = adapterName
        dropTurn()
    }

    /// The conversation is as it was before the turn's first feed.
    private func takeBack(_ reason: StopReason) {
        if let beforeTurn { conversation.restore(beforeTurn) }
        if reason == .failed { clearOutput() }
        (mediaSpans, keptTokens) = (GrowingBuffer(), [])
        finishTurn(reason)
    }

    private func dropTurn() {
        intake = PromptIntake(model.checkpoint, options)
        recordingsFed = 0
        beforeTurn = nil
        phase = .feeding
        progress = SessionProgress()
        control.end()
    }

    private func clearOutput() {
        text.removeAll()
        audio.removeAll()
        tokens.removeAll()
        units.removeAll()
    }

    private var adapterName: String? { conversation.adapter.map { model.checkpoint.adapters[$0] } }

    private func currentUsage() -> Usage {
        var usage = spent
        usage.cacheBytes = conversation.cacheBytes
        if phase.isFeeding, control.isRequested {
            // What was fed is as good as dropped.
            usage.stop = control.current == .cancelRequested ? .cancelled : .stopped
        }
        if isAnswering {
            usage.timings.total = milliseconds() - turnStart
            usage.adapter = adapterName
        }
        return usage
    }

    /// Adds to the turn, which begins with its first feed.
    ///
    /// - Throws: what `body` throws; `LyraError.state` while an answer is being made, or if the turn was asked to end
    ///   meanwhile, which drops all that was fed of it.
    func feeding(_ body: () throws -> Void) throws {
        try beginFeeding()
        do { try body() } catch {
            // Work that was interrupted by the request is no failure.
            try checkStillFed()
            if intake.isEmpty { dropTurn() }
            throw error
        }
        try checkStillFed()
    }

    private func beginFeeding() throws {
        guard phase.isFeeding else {
            throw LyraError(
                .state, "an answer is being made; step to its end, stop it or cancel it before feeding more")
        }
        obeyRequestWhileFed()
        control.begin()
        guard beforeTurn == nil else { return }
        beforeTurn = conversation.mark()
        if !saysWhyDropped { spent.stop = .none }
    }

    /// Goes on with a turn that was being fed when it was saved.
    func beginRestoredTurn(_ intake: PromptIntake, before: Conversation.Mark) {
        control.begin()
        self.intake = intake
        beforeTurn = before
    }

    // MARK: Reading

    /// How many spans `media` has.
    public var mediaCount: Int { mediaSpans.count }

    /// One span of `media`.
    ///
    /// - Parameter index: below `mediaCount`
    public func medium(_ index: Int) -> MediaSpan { mediaSpans[index] }

    /// Blocks of `kept`.
    public var keptBlocks: Int { keptTokens.count }

    /// Shows one block of `kept` without a copy.
    ///
    /// - Parameter block: below `keptBlocks`
    public func withKept<R>(block: Int, _ body: (UnsafeBufferPointer<Int32>) throws -> R) rethrows -> R {
        try body(UnsafeBufferPointer(keptTokens[block].elements))
    }

    /// Takes up to `limit` bytes of text, whole UTF-8 characters only.
    public func readText(limit: Int = .max) -> [UInt8] {
        var result: [UInt8] = []
        text.take { all in
            result = Array(all[..<wholeCharacters(of: all, limit: limit)])
            return result.count
        }
        return result
    }

    /// Bytes of the longest text of whole characters within `limit` bytes.
    private func wholeCharacters(of text: UnsafeBufferPointer<UInt8>, limit: Int) -> Int {
        var end = min(limit, text.count)
        // Back to the start of a character: continuation bytes are 10xxxxxx.
        while end > 0, end < text.count, text[end] & 0xc0 == 0x80 { end -= 1 }
        return end
    }

    /// Moves text to `buffer`, whole UTF-8 characters only. → bytes
    public func readText(into buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
        var read = 0
        text.take { all in
            read = wholeCharacters(of: all, limit: buffer.count)
            if let target = buffer.baseAddress, let source = all.baseAddress {
                target.update(from: source, count: read)
            }
            return read
        }
        return read
    }

    public var hasText: Bool { !text.isEmpty }

    /// Takes up to `limit` samples, mono at the vocoder's rate.
    public func readAudio(limit: Int = .max) -> [Float] { audio.read(limit) }

    /// Moves as many samples to `buffer` as fit. → how many
    public func readAudio(into buffer: UnsafeMutableBufferPointer<Float>) -> Int { audio.read(into: buffer) }

    /// Takes ids of the answer's tokens, the stop token included.
    public func readTokens(limit: Int = .max) -> [Int32] { tokens.read(limit) }

    /// Moves as many ids to `buffer` as fit. → how many
    public func readTokens(into buffer: UnsafeMutableBufferPointer<Int32>) -> Int { tokens.read(into: buffer) }

    /// Takes speech units of the answer.
    public func readUnits(limit: Int = .max) -> [Int32] { units.read(limit) }

    /// Moves as many units to `buffer` as fit. → how many
    public func readUnits(into buffer: UnsafeMutableBufferPointer<Int32>) -> Int { units.read(into: buffer) }
}

extension Usage {
    /// Takes over what the turn's prompt came to so far.
    fileprivate mutating func read(_ intake: PromptIntake) {
        (promptTokens, mediaTokens) = (intake.promptTokens, intake.mediaTokens)
        keptPerBlock = intake.kept.map(\.count)
        (timings.encode, timings.prefill) = (intake.timings.encode, intake.timings.prefill)
    }
}

/// A monotonic clock, in milliseconds.
func milliseconds() -> Double {
    var now = timespec()
    clock_gettime(CLOCK_MONOTONIC, &now)
    return Double(now.tv_sec) * 1e3 + Double(now.tv_nsec) / 1e6
}
