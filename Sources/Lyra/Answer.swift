import LyraBase
import LyraModel
import LyraTensor
import LyraText

/// An answer in progress: text token by token, with speech units and waveform.
final class Answer {
    private let checkpoint: Checkpoint
    private let endTokens: Set<Int32>
    let maxTokens: Int
    /// Hidden states after the final norm: the newest, which predicts the next token. Before the first token, the
    /// prompt's rows that the speech generator reads precede it.
    private var rows: Tensor
    /// The newest token, not yet in the caches.
    private var newest: Int32?
    private var detokenizer: Detokenizer
    let tokens = GrowingBuffer<Int32>()
    /// Tokens of the conversation so far, for the repetition penalty.
    private var seen: TokenSet?
    private(set) var stop = StopReason.none
    /// Whether another thread's request ended the answer.
    private(set) var isStopped = false
    private var speech: SpokenAnswer?
    private(set) var unitCount = 0
    private(set) var sampleCount = 0
    /// Milliseconds spent on tokens, and on speech.
    private(set) var decodeTime = 0.0, speechTime = 0.0
    /// When the first token and the first samples were made, in milliseconds.
    private(set) var firstToken: Double?, firstAudio: Double?

    /// - Parameters:
    ///   - promptRows: the prompt's last hidden states, of which the last predicts the first token
    ///   - maxTokens: at least 1
    init(_ checkpoint: Checkpoint, promptRows: Tensor, options: SessionOptions, maxTokens: Int) throws {
        self.checkpoint = checkpoint
        self.maxTokens = maxTokens
        rows = promptRows
        endTokens = checkpoint.endTokens
        detokenizer = Detokenizer(checkpoint.tokenizer)
        speech = options.speaks ? try SpokenAnswer(checkpoint, contextRows: promptRows.rows - 1) : nil
    }

    var isDone: Bool { hasEnded && (speech?.isDone ?? true) }
    private var hasEnded: Bool { stop != .none || isStopped }

    /// Whether the next step makes speech, which takes precedence over the next token so that audio starts early.
    var hasSpeechToMake: Bool { speech.map { $0.hasWork } ?? false }

    /// What the next step can compute together with other sessions: the newest token, which goes through the decoder;
    /// nil if the next step is something else.
    func sharedToken(_ conversation: Conversation) -> SharedToken? {
        guard !hasEnded, !hasSpeechToMake, let newest else { return nil }
        return SharedToken(
            newest, position: Position(conversation.nextPosition), caches: conversation.caches,
            adapter: conversation.adapter)
    }

    /// What the next step passes to the speech generator; nil if the next step is something else.
    var sharedSpeech: SharedSpeech? { speech?.shared }
    var spokenRows: Int { speech?.spokenRows ?? 0 }

    /// Runs the newest token through the decoder and samples the next. → the text that became complete
    func generateToken(_ conversation: inout Conversation) throws -> String {
        guard !hasEnded else { return "" }
        let start = MonotonicTime.milliseconds
        defer { decodeTime += MonotonicTime.milliseconds - start }
        if let newest {
            rows = try checkpoint.decoder.decode(
                newest, position: Position(conversation.nextPosition), caches: conversation.caches,
                adapter: conversation.adapter)
            conversation.nextPosition += 1
        }
        let logits = try checkpoint.decoder.logits(
            rows.rows(rows.rows - 1..<rows.rows), adapter: conversation.adapter)
        return try sample(logits, &conversation)
    }

    /// Samples the next token, after the newest went through the decoder together with those of other sessions.
    ///
    /// - Returns: the text that became complete
    func continueShared(_ decoded: SharedDecoding, _ conversation: inout Conversation) throws -> String {
        let start = MonotonicTime.milliseconds
        defer { decodeTime += decoded.milliseconds + MonotonicTime.milliseconds - start }
        for cache in conversation.caches { try cache.quantizeOlderPages() }
        rows = decoded.row
        conversation.nextPosition += 1
        return try sample(decoded.logits, &conversation)
    }

    private func sample(_ logits: Tensor, _ conversation: inout Conversation) throws -> String {
        if tokens.isEmpty && conversation.sampler.repetitionPenalty != 1 {
            seen = try TokenSet(conversation.tokens, vocabulary: logits.count)
        }
        let token = try conversation.sampler.next(logits, seen: seen)
        try tokens.append(token)
        if firstToken == nil { firstToken = MonotonicTime.milliseconds }
        seen?.insert(token)
        try conversation.tokens.append(token)
        newest = token
        speech?.append(rows)
        if endTokens.contains(token) { stop = .endOfAnswer } else if tokens.count >= maxTokens { stop = .length }
        if hasEnded { speech?.finish() }
        return stop == .endOfAnswer
            ? detokenizer.finish() : detokenizer.append(token) + (hasEnded ? detokenizer.finish() : "")
    }

    /// Makes one piece of speech: the speech units of a token, or a piece of the waveform.
    func makeSpeech() throws -> (units: [Int32], audio: GrowingBuffer<Float>) {
        let start = MonotonicTime.milliseconds
        defer { speechTime += MonotonicTime.milliseconds - start }
        let audio = GrowingBuffer<Float>()
        let units = try speech?.step(audio) ?? []
        if firstAudio == nil, !audio.isEmpty { firstAudio = MonotonicTime.milliseconds }
        unitCount += units.count
        sampleCount += audio.count
        return (units, audio)
    }

    /// What the speech generator makes of the next hidden state of each of several answers.
    ///
    /// - Throws: the first error of any answer; all are then as before.
    static func makeUnitsTogether(
        _ speech: [SharedSpeech], isInterrupted: () -> Bool
    ) throws -> [SharedUnits] {
        guard let generator = speech.first?.generator else { return [] }
        let start = MonotonicTime.milliseconds
        var states = speech.map(\.state)
        let units = try generator.append(
            Tensor.stacking(speech.map(\.row)), to: &states, isInterrupted: isInterrupted)
        let each = (MonotonicTime.milliseconds - start) / Double(speech.count)
        return zip(states, units).map { SharedUnits(state: $0, units: $1, milliseconds: each) }
    }

    /// Takes what was made of the `sharedSpeech`.
    func take(_ made: SharedUnits) throws {
        try speech?.take(made)
        unitCount += made.units.count
        speechTime += made.milliseconds
    }

    /// Generates no further tokens.
    ///
    /// - Returns: whether speech of the generated text is still to be made
    func stopGenerating() -> Bool {
        isStopped = true
        speech?.finish()
        return !isDone
    }

    /// Records the end of the answer in the conversation, so that another turn can follow.
    func conclude(_ conversation: inout Conversation) {
        conversation.answerEnded = stop == .endOfAnswer
        if stop == .endOfAnswer {
            // Whichever token ended the answer, the template closes a turn with this token.
            conversation.uncomputed = checkpoint.turnEnd.map { [$0] } ?? []
        } else {
            conversation.uncomputed = newest.map { [$0] } ?? []
        }
    }
}

/// What the decoder made of a token together with those of other conversations.
struct SharedDecoding {
    /// The hidden state after the final norm, [1, hidden].
    let row: Tensor
    /// The scores of what may follow, [1, vocabulary].
    let logits: Tensor
    /// The conversation's share of the time.
    let milliseconds: Double
}

/// A hidden state that is to be spoken, and the speech generator's state before it.
struct SharedSpeech {
    let generator: SpeechGenerator
    let state: SpeechGenerator.State
    let row: Tensor
}

/// The speech units that a hidden state adds to an answer, made together with those of other answers.
struct SharedUnits {
    /// The generator's state after them.
    let state: SpeechGenerator.State
    let units: [Int32]
    /// The answer's share of the time.
    let milliseconds: Double
}

/// The speech of an answer.
private struct SpokenAnswer {
    private let generator: SpeechGenerator
    private var state: SpeechGenerator.State
    private let waveform: VocoderStream
    /// Hidden states that are not yet passed to the generator.
    private var rows: [Tensor] = []
    private var isFinished = false
    private var wasFlushed = false

    /// - Parameter contextRows: how many hidden states of the prompt precede the answer's
    /// - Throws: `LyraError.missing` if the model does not speak.
    init(_ checkpoint: Checkpoint, contextRows: Int) throws {
        let vocoder: Vocoder
        (generator, vocoder) = try checkpoint.speechOutput()
        state = generator.makeState(contextRows: contextRows)
        waveform = VocoderStream(vocoder)
    }

    var hasWork: Bool { !rows.isEmpty || waveform.hasWork || (isFinished && !wasFlushed) }
    var isDone: Bool { isFinished && !hasWork }

    /// How many hidden states the generator has read.
    private(set) var spokenRows = 0

    /// What the next step passes to the generator; nil if the next step is something else.
    var shared: SharedSpeech? {
        guard !waveform.hasWork, let row = rows.first, generator.canShare else { return nil }
        return SharedSpeech(generator: generator, state: state, row: row)
    }

    /// Takes what the generator made of `shared` together with other answers'.
    mutating func take(_ made: SharedUnits) throws {
        rows.removeFirst()
        spokenRows += 1
        state = made.state
        try waveform.append(made.units)
    }

    mutating func append(_ new: Tensor) { rows += (0..<new.rows).map { new.rows($0..<$0 + 1) } }
    mutating func finish() { isFinished = true }

    /// - Parameter audio: receives the samples
    /// - Returns: speech units
    mutating func step(_ audio: GrowingBuffer<Float>) throws -> [Int32] {
        if waveform.hasWork {
            try waveform.produce(into: audio)
            return []
        }
        if let row = rows.first {
            rows.removeFirst()
            spokenRows += 1
            let units = try generator.append(row, to: &state)
            try waveform.append(units)
            return units
        }
        if isFinished && !wasFlushed {
            wasFlushed = true
            waveform.finish()
        }
        return []
    }
}

extension Checkpoint {
    /// The networks that speak.
    ///
    /// - Throws: `LyraError.missing` if the model lacks one.
    func speechOutput() throws -> (SpeechGenerator, Vocoder) {
        guard let generator else {
            throw LyraError(
                .missing,
                "this model does not speak: it has no speech generator; turn spoken answers off, or open another model")
        }
        return (generator, try vocoder.get())
    }

    /// `<|im_end|>`, which closes a turn in the template.
    var turnEnd: Int32? { tokenizer.id(ofSpecial: ChatTemplate.turnEnd) }

    /// Tokens that end an answer: generation_config.json's or else config.json's, and the template's.
    var endTokens: Set<Int32> {
        let configured = generationDefaults.endTokens.isEmpty ? configuration.endTokens : generationDefaults.endTokens
        let template = [ChatTemplate.turnEnd, ChatTemplate.endOfText].compactMap { tokenizer.id(ofSpecial: $0) }
        return Set(configured + template)
    }
}
