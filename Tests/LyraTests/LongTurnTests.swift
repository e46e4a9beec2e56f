import LyraMedia
import LyraModel
import LyraTensor
import TestSupport
import Testing

@testable import Lyra

/// Sessions with the extractor, with smaller caches, and with work done ahead while a turn is fed.
@Suite struct LongTurnTests {
    // MARK: The extractor

    @Test(arguments: Golden.both) func aLongRecordingIsExtractedAndAnsweredInSpeech(_ golden: Golden) throws {
        let session = try golden.session {
            $0.speaks = true
            $0.extractor = .on(try! Extractor(gap: 2, keep: 0.7))
        }
        let outcome = try session.ask("Summarize.", hearing: golden.longRecording)
        try check(outcome, session, equals: "turn_long_extractor", of: golden)
    }

    @Test(arguments: Golden.both) func aPictureAndSpeechAreExtractedTogether(_ golden: Golden) throws {
        let session = try golden.session {
            $0.speaks = true
            $0.extractor = .on(try! Extractor(gap: 3, keep: 0.5))
        }
        try session.feed(.image(.pixels(golden.image("image_tall"))))
        try session.feed(pcm: golden.shortRecording)
        try check(session.outcome(), session, equals: "turn_image_extractor", of: golden)
        #expect(session.media.map(\.kind) == [.image, .speech])
        #expect(session.media.map(\.tokens).reduce(0, +) == session.usage.mediaTokens)
    }

    private func check(_ outcome: Outcome, _ session: Session, equals name: String, of golden: Golden) throws {
        #expect(outcome.tokens == (try golden.integers(name, "out.ids")))
        #expect(outcome.units == (try golden.integers(name, "out.units")))
        let wav = try golden.floats(name, "out.wav")
        try #require(outcome.audio.count == wav.count)
        #expect(zip(outcome.audio, wav).allSatisfy { abs($0 - $1) <= 1e-4 })
        let isMedia = session.media.reduce(into: Set<Int32>()) {
            $0.formUnion(Int32($1.first)..<Int32($1.first + $1.tokens))
        }
        try #require(!session.kept.isEmpty)
        for (block, kept) in session.kept.enumerated() {
            #expect(kept == (try golden.integers(name, "out.kept_\(block)").filter { isMedia.contains($0) }))
        }
        #expect(session.usage.keptPerBlock == session.kept.map(\.count))
    }

    /// Pruned tokens stay pruned. A later turn prunes its own media only, and a turn of text prunes nothing.
    @Test func laterTurnsExtractTheirOwnMedia() throws {
        let golden = Golden.a
        let session = try golden.session { $0.extractor = .on(try! Extractor(gap: 4, keep: 0.5)) }
        _ = try session.ask("Summarize.", hearing: golden.longRecording)
        #expect(session.kept.map(\.count) == [450])
        let lengths = session.conversation.caches.map(\.rows)
        #expect(Set(lengths[..<4]).count == 1 && Set(lengths[4...]).count == 1 && lengths[0] == lengths[4] + 450)
        _ = try session.ask("And?")
        #expect(session.kept.isEmpty && session.usage.keptPerBlock.isEmpty)
        let between = session.conversation.caches.map(\.rows)
        #expect(between[0] == between[4] + 450, "text is not pruned")
        try session.feed(.video(.frames(golden.videoFrames())))
        _ = try session.ask("And this?")
        let media = session.usage.mediaTokens
        #expect(media == 45 && session.kept.map(\.count) == [32])
        let after = session.conversation.caches.map(\.rows)
        #expect(after[0] == after[4] + 450 + 45 - 32)
        let first = session.media[0].first
        #expect(session.kept[0].allSatisfy { $0 >= first && Int($0) < first + media })
    }

    @Test func anExtractedTurnThatIsCancelledLeavesNothing() throws {
        let golden = Golden.b
        func fresh() throws -> Session { try golden.session { $0.extractor = .on(try! Extractor(gap: 2, keep: 0.5)) } }
        let wanted = try fresh().ask("Hello!")
        for steps in [1, 8, 12, 16] {
            let session = try fresh()
            try session.feed(pcm: golden.shortRecording)
            try session.feed(text: "What is said?")
            try session.endTurn()
            for _ in 0..<steps where session.isAnswering { _ = try session.step() }
            session.control.cancel()
            if session.isAnswering { _ = try session.step() }
            try #require(session.usage.stop == .cancelled)
            #expect(session.kept.isEmpty)
            #expect(try session.ask("Hello!") == wanted)
        }
    }

    // MARK: Working ahead

    private static let sizes = [1, 160, 7777, Int.max]

    @Test(arguments: sizes) func piecesOfARecordingGiveTheAnswerOfTheWhole(_ size: Int) throws {
        let golden = Golden.a
        let pcm = try golden.longRecording
        let session = try golden.session { $0.speaks = true }
        var start = 0, worked = 0
        while start < pcm.count {
            let end = min(pcm.count, size < pcm.count ? start + size : pcm.count)
            try session.feed(pcm: Array(pcm[start..<end]))
            // Steps after each piece, as a host with a microphone does; after every 4000th if a piece is one sample.
            if size >= 160 || start % 4000 == 0 { while try session.step() == .progress { worked += 1 } }
            start = end
        }
        try session.feed(text: "Summarize.")
        while try session.step() == .progress { worked += 1 }
        let before = session.usage
        let outcome = try session.outcome()
        #expect(outcome.tokens == (try golden.integers("turn_long", "out.ids")))
        #expect(outcome.units == (try golden.integers("turn_long", "out.units")))
        #expect(worked > 0 && before.generatedTokens == 0)
        #expect(session.usage.mediaTokens == 900 && session.usage.adapter == "long_speech")
        #expect(try session.media == [span(session, golden, seconds: 71)])
    }

    private func span(_ session: Session, _ golden: Golden, seconds: Double) throws -> MediaSpan {
        let first = try golden.tokenizer.encode(
            "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
        ).count
        return MediaSpan(
            kind: .speech, first: first, tokens: 900, time: 900, height: 1, width: 1, start: 0, seconds: seconds)
    }

    /// When the turn ends, only the last window and the text remain to be computed.
    @Test func onlyTheLastWindowRemainsWhenTheTurnEnds() throws {
        let golden = Golden.a
        let pcm = try golden.longRecording
        let session = try golden.session { $0.maxNewTokens = 1 }
        try session.feed(pcm: pcm)
        while try session.step() == .progress {}
        #expect(session.conversation.length > 600, "two windows of three are in the caches")
        let left = try session.ask("Summarize.").steps
        let whole = try golden.session { $0.maxNewTokens = 1 }.ask("Summarize.", hearing: pcm).steps
        #expect(left * 2 < whole)
    }

    @Test func aTurnThatWasComputedAheadIsRolledBack() throws {
        let golden = Golden.a
        let wanted = try golden.session().ask("Hello!")
        let session = try golden.session()
        try session.feed(pcm: golden.longRecording)
        while try session.step() == .progress {}
        #expect(session.conversation.length > 0)
        session.control.cancel()
        expect(.state) { _ = try session.step() }
        #expect(session.conversation.length == 0 && session.usage.cacheBytes == 0)
        expect(.state) { _ = try session.step() }
        #expect(try session.ask("Hello!") == wanted)
        #expect(session.usage.adapter == nil)
    }

    @Test func theSystemPromptIsFixedByTheFirstStepThatUsesIt() throws {
        let session = try Golden.a.session()
        try session.feed(text: "Hello!")
        #expect(try session.step() == [], "text is complete only when the turn ends")
        try session.setSystemPrompt("Be brief.")
        try session.feed(pcm: Golden.a.longRecording)
        while try session.step() == .progress {}
        expect(.state) { try session.setSystemPrompt("Be long.") }
    }

    // MARK: Silence

    @Test func silentWindowsAreLeftOutOnRequest() throws {
        let golden = Golden.a
        let short = try golden.shortRecording
        let window = 30 * 16_000
        let pcm = short + [Float](repeating: 0, count: 2 * window) + short
        let session = try golden.session { $0.skipsSilence = true }
        _ = try session.ask("Summarize.", hearing: pcm)
        #expect(session.usage.mediaTokens == 600)
        #expect(session.media.map(\.start) == [0, 60])
        let faithful = try golden.session()
        _ = try faithful.ask("Summarize.", hearing: pcm)
        #expect(faithful.usage.mediaTokens == 900)
        let silent = try golden.session { $0.skipsSilence = true }
        _ = try silent.ask("Summarize.", hearing: [Float](repeating: 0, count: 2 * window))
        #expect(silent.usage.mediaTokens == 300, "a silent recording keeps one window")
    }

    // MARK: Cache types

    /// A golden turn; the reference computed its answer in float32.
    private func ask(_ turn: String, _ golden: Golden, _ type: KeyValueType) throws -> (Outcome, Session) {
        let session = try golden.session {
            ($0.keyValueType, $0.speaks) = (type, true)
            if turn == "turn_long_extractor" { $0.extractor = .on(try! Extractor(gap: 2, keep: 0.7)) }
            if turn == "turn_image_extractor" { $0.extractor = .on(try! Extractor(gap: 3, keep: 0.5)) }
        }
        switch turn {
        case "turn_text": return (try session.ask("Hello! Who are you?"), session)
        case "turn_speech": return (try session.ask("What is said?", hearing: golden.shortRecording), session)
        case "turn_image_text":
            try session.feed(.image(.pixels(golden.image("image_small"))))
            return (try session.ask("Describe it."), session)
        case "turn_video":
            try session.feed(.video(.frames(golden.videoFrames())))
            return (try session.ask("What happens?"), session)
        case "turn_sound":
            let sound = try golden.sound("sound_bells")
            try session.feed(.sound(.samples(sound, sampleRate: 16_000)))
            return (try session.ask("What do you hear?"), session)
        case "turn_image_speech", "turn_image_extractor":
            try session.feed(.image(.pixels(golden.image("image_tall"))))
            try session.feed(pcm: golden.shortRecording)
            return (try session.outcome(), session)
        default: return (try session.ask("Summarize.", hearing: golden.longRecording), session)
        }
    }

    private static let turns = [
        "text", "speech", "long", "image_text", "image_speech", "video", "sound", "long_extractor", "image_extractor",
    ].map { "turn_" + $0 }

    /// The newest 512 rows and those of the chunk are not rounded; older rows are.
    @Test(arguments: [KeyValueType.float16, .bfloat16], turns)
    func cachesOf16BitsKeepTheAnswers(_ type: KeyValueType, _ turn: String) throws {
        for golden in Golden.both {
            let (outcome, session) = try ask(turn, golden, type)
            #expect(outcome.tokens == (try golden.integers(turn, "out.ids")), "\(golden.name)")
            if turn == "turn_long" {
                let (_, wide) = try ask(turn, golden, .float32)
                #expect(session.usage.cacheBytes < wide.usage.cacheBytes)
            }
        }
    }

    /// How far the first logits move, as a share of their range. Only the long turn has rows that are rounded.
    @Test(arguments: [(KeyValueType.float16, 0.01), (.bfloat16, 0.02), (.int8, 0.02)] as [(KeyValueType, Float)])
    func smallerCachesMoveTheLogitsLittle(_ type: KeyValueType, _ bound: Float) throws {
        var largest: Float = 0
        for golden in Golden.both {
            for turn in ["turn_text", "turn_speech", "turn_long"] {
                let values = try golden.floats(turn, "out.first_logits")
                let decoder = golden.model.checkpoint.decoder
                let embeddings = try Tensor(
                    golden.stored(turn, "in.embeddings").shape, golden.floats(turn, "in.embeddings"))
                let adapter = turn.hasSuffix("speech") ? "speech" : turn == "turn_long" ? "long_speech" : ""
                let caches = decoder.makeCaches(type: type)
                var last = embeddings
                // Chunk by chunk, as in a session: each attends to the rounded rows before it.
                for first in stride(from: 0, to: embeddings.rows, by: Prefill.chunkRows) {
                    let rows = first..<min(first + Prefill.chunkRows, embeddings.rows)
                    var prefill = try Prefill(
                        decoder, embeddings: embeddings.rows(rows), positions: rows.map { Position(Int32($0)) })
                    while !prefill.isDone {
                        try prefill.step(
                            decoder, caches: caches, adapter: golden.model.checkpoint.adapterIndex(adapter))
                    }
                    last = try prefill.lastRows(decoder)
                }
                let logits = try decoder.logits(last).values
                let range = (values.max() ?? 0) - (values.min() ?? 0)
                let worst = (zip(logits, values).map { abs($0 - $1) }.max() ?? .infinity) / range
                print("keys and values as \(type.rawValue), \(golden.name) \(turn): \(worst) of the logits' range")
                largest = max(largest, worst)
            }
        }
        #expect(largest < bound && largest > 0)
    }

    /// After a rollback, no more rows are rounded than before the turn.
    @Test(arguments: [KeyValueType.bfloat16, .int8]) func aTurnThatIsCancelledRoundsNothing(_ type: KeyValueType) throws
    {
        let golden = Golden.a
        let session = try golden.session { ($0.keyValueType, $0.adapter) = (type, .named("speech")) }
        func pieces() throws -> [[UInt8]] {
            var all: [[UInt8]] = []
            for cache in session.conversation.caches { try cache.forEachPiece { all.append(Array($0)) } }
            return all
        }
        _ = try session.ask("What is said?", hearing: golden.shortRecording)
        let before = try pieces()
        try session.feed(pcm: golden.longRecording)
        while try session.step().contains(.progress) {}
        #expect(session.conversation.caches.allSatisfy { $0.quantizedPages > 0 })
        session.control.cancel()
        expect(.state) { _ = try session.step() }
        #expect(try pieces() == before)
    }

    // MARK: Limits

    /// A page of keys and of values of one layer, by hand: 256 rows of 2 heads of 16 floats.
    private static let exactPage = 2 * 256 * 2 * 16 * 4

    /// Exact pages that a rollback needs count in the limit and in the usage, although the caches hold smaller ones.
    @Test(arguments: [KeyValueType.float16, .bfloat16, .int8]) func theLimitCountsWhatARollbackNeeds(
        _ type: KeyValueType
    ) throws {
        let golden = Golden.a, decoder = golden.model.checkpoint.decoder
        let session = try golden.session { ($0.keyValueType, $0.adapter) = (type, .named("speech")) }
        func limits(_ bytes: Int) -> SessionLimits {
            var options = session.options
            options.maxMemoryBytes = bytes
            return SessionLimits(options, decoder)
        }
        _ = try session.ask("What is said?", hearing: golden.shortRecording)
        #expect(session.usage.cacheBytes == session.conversation.cacheBytes)

        // 600 rows more quantize the first page.
        let start = session.conversation, mark = start.mark(), layers = decoder.layerCount
        try #require((256..<512).contains(start.length))
        let rows = [Int](repeating: start.length + 600, count: layers)
        let needed = decoder.cacheBytes(rows: rows, type: type) + layers * Self.exactPage
        try limits(needed).check(start, since: mark, held: 0, rows: 600)
        expect(.memory, "\(needed) bytes", "max_memory_bytes") {
            try limits(needed - 1).check(start, since: mark, held: 0, rows: 600)
        }

        try session.feed(pcm: golden.longRecording)
        while try session.step().contains(.progress) {}
        let caches = session.conversation.cacheBytes, before = try #require(session.beforeTurn)
        #expect(session.conversation.caches.allSatisfy { $0.quantizedPages == 1 })
        #expect(session.usage.cacheBytes == caches + layers * Self.exactPage)
        expect(.memory, "max_memory_bytes") {
            _ = try limits(caches).room(session.conversation, since: before, limit: 1)
        }
        let room = try limits(caches + layers * Self.exactPage).room(session.conversation, since: before, limit: 1)
        #expect(room == 1)
        session.control.cancel()
        expect(.state) { _ = try session.step() }
        #expect(session.usage.cacheBytes == session.conversation.cacheBytes, "no turn, no rollback")
    }

    @Test func noRoomForAnAnswerNamesTheLimit() throws {
        let session = try Golden.a.session()
        _ = try session.ask("Hello!")
        let conversation = session.conversation, decoder = session.model.checkpoint.decoder
        var options = SessionOptions()
        options.maxContextTokens = conversation.length
        expect(.memory, "max_context_tokens", "\(conversation.length)") {
            _ = try SessionLimits(options, decoder).room(conversation, since: conversation.mark(), limit: 10)
        }
    }

    @Test func memoryOverTheLimitIsRefusedWithTheLimit() throws {
        let golden = Golden.a
        let roomy = try golden.session()
        let wanted = try roomy.ask("Hello!")
        let limit = roomy.usage.cacheBytes
        let session = try golden.session { $0.maxMemoryBytes = limit }
        try session.feed(pcm: golden.longRecording)
        try session.feed(text: "Summarize.")
        try session.endTurn()
        let error = lyraError { while session.isAnswering { _ = try session.step() } }
        #expect(error.code == .memory && error.message.contains("\(limit)"), "\(error.message)")
        #expect(session.usage.cacheBytes <= limit)
        #expect(try session.ask("Hello!") == wanted, "the next call works")
    }

    /// A recording of known length is refused before it is encoded. Its prefilled rows are not counted twice.
    @Test func aRecordingOfKnownLengthIsRefusedAtOnceIfItDoesNotFit() throws {
        let golden = Golden.a
        let pcm = try golden.longRecording
        func session(_ limit: Int) throws -> Session {
            let session = try golden.session { $0.maxContextTokens = limit }
            let queue = try PCMQueue(sampleRate: 16_000, channels: 1)
            try pcm.withUnsafeBufferPointer { try queue.append($0, sampleRate: 16_000, channels: 1) }
            queue.finish()
            try session.feed(.speech(.recording(queue)))
            try session.feed(text: "Summarize.")
            try session.endTurn()
            return session
        }
        let tight = try session(900)
        expect(.memory, "900") { _ = try tight.step() }
        #expect(try session(950).finish().tokens == golden.integers("turn_long", "out.ids"))
    }

    @Test func anAnswerEndsWhenTheMemoryIsFull() throws {
        let golden = Golden.a
        let session = try golden.session {
            ($0.maxNewTokens, $0.repetitionPenalty) = (10_000, 1)
            $0.maxMemoryBytes = 8 * KeyValueCache.byteCount(rows: 256, kvHeads: 2, headDim: 16, type: .float32)
            ($0.sampling, $0.temperature, $0.seed) = (.random, 5, 3)
        }
        let outcome = try session.ask("Hello!")
        if outcome.stop == .length { #expect(session.conversation.length <= 256) }
        #expect(outcome.stop == .length || outcome.tokens.count < 256)
        #expect(session.usage.cacheBytes <= session.options.maxMemoryBytes ?? 0)
    }
}
