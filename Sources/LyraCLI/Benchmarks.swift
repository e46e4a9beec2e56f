import CKernels
import Lyra
import LyraBase
import LyraModel
import LyraTools
import LyraTensor

/// Parts that `bench` can measure.
enum BenchmarkPart: String, CaseIterable {
    case memory, limits, prefill, decode, sessions, encoder, generator, vocoder, vision, answer, video

    /// Whether the measurement needs a model.
    var needsModel: Bool { self != .memory && self != .limits }
}

/// The measurements of `bench`, each with the limit of the machine that applies to it.
final class Benchmarks {
    let checkpoint: Checkpoint
    let preset: ModelPreset
    /// A video to decode.
    private let video: String?
    private let repetitions: Int
    private let promptTokens: Int
    private let decodeTokens: Int
    private let decodeAfter: Int
    /// How many sessions decode together, for each measurement of that.
    private let sessionCounts: [Int]
    private let limits: MachineLimits

    init(
        _ checkpoint: Checkpoint, preset: ModelPreset, limits: MachineLimits, repetitions: Int, promptTokens: Int,
        decodeTokens: Int, decodeAfter: Int, sessionCounts: [Int], video: String?
    ) {
        self.limits = limits
        self.decodeAfter = decodeAfter
        self.sessionCounts = sessionCounts
        self.video = video
        self.checkpoint = checkpoint
        self.preset = preset
        self.repetitions = repetitions
        self.promptTokens = promptTokens
        self.decodeTokens = decodeTokens
    }

    func measure(_ part: BenchmarkPart) throws -> [BenchmarkRow] {
        switch part {
        case .memory, .limits: try limits.measure(part)
        case .prefill: [try prefill()]
        case .decode: [try decode()]
        case .sessions: try sessionCounts.flatMap { try decodeTogether($0) }
        case .encoder: [try encodeSpeech()]
        case .generator: [try generate()]
        case .vocoder: [try vocode()]
        case .vision: [try encodeImage()]
        case .answer: try answer()
        case .video: try video.map { [try decode(video: $0)] } ?? []
        }
    }

    /// Median duration in seconds. A first run fills caches and buffers and is not counted.
    func median(_ body: () throws -> Void) rethrows -> Double {
        try body()
        return try (0..<repetitions).map { _ in
            let start = MonotonicTime.seconds
            try body()
            return MonotonicTime.seconds - start
        }.sorted()[repetitions / 2]
    }

    /// Median duration in seconds, with the machine's rates just before and after, because other load slows both.
    private func timeAgainst(_ rate: () throws -> Double, _ body: () throws -> Void) throws -> (Double, [Double]) {
        func samples() throws -> [Double] { try (0..<3).map { _ in try rate() } }
        return try (0..<repetitions).map { _ in
            let before = try samples(), start = MonotonicTime.seconds
            try body()
            let seconds = MonotonicTime.seconds - start
            return try (seconds, before + samples())
        }.sorted { $0.0 * mean($0.1) < $1.0 * mean($1.1) }[repetitions / 2]
    }

    /// Median duration in seconds, with the share of sgemm's rate that `operations` floating-point operations reach.
    func timeAgainstSgemm(
        operations: Double, _ body: () throws -> Void
    ) throws -> (seconds: Double, limit: BenchmarkRow.Limit) {
        try body()
        let (seconds, rates) = try timeAgainst(limits.sgemm(), body)
        return (seconds, BenchmarkRow.Limit(name: "sgemm", rates: rates, reached: operations / seconds))
    }

    /// Multiplications and additions of the language model's matrices for one token, without the output head.
    private var languageFlops: Double {
        let language = preset.language, hidden = language.hiddenSize
        let attention = hidden * (2 * hidden + 2 * language.kvHeads * language.headDim)
        return 2 * Double(language.layers * (attention + 3 * hidden * language.intermediateSize))
    }

    private func prompt(_ count: Int) -> [Int32] {
        (0..<count).map { Int32($0 * 7919 % preset.language.vocabularySize) }
    }

    private func runPrompt(_ count: Int, _ caches: [KeyValueCache]) throws -> Tensor {
        let decoder = checkpoint.decoder
        var prefill = try Prefill(
            decoder, embeddings: decoder.embed(prompt(count)), positions: (0..<Int32(count)).map { Position($0) })
        while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: nil) }
        return try prefill.lastRows(decoder)
    }

    private func prefill() throws -> BenchmarkRow {
        let decoder = checkpoint.decoder
        let (seconds, limit) = try timeAgainstSgemm(operations: Double(promptTokens) * languageFlops) {
            _ = try decoder.logits(runPrompt(promptTokens, decoder.makeCaches()))
        }
        return BenchmarkRow(
            part: "language model", what: "prefill \(promptTokens)", value: Double(promptTokens) / seconds,
            unit: "tokens/s", limit: limit)
    }

    private func decode() throws -> BenchmarkRow {
        let decoder = checkpoint.decoder
        let caches = decoder.makeCaches()
        var row = try runPrompt(decodeAfter, caches)
        var position = Int32(decodeAfter)
        // The prefill above replaces an unmeasured first run.
        let (seconds, rates) = try timeAgainst(limits.readingRate) {
            for _ in 0..<decodeTokens {
                let logits = try decoder.logits(row)
                let id = logits.indicesOfLargest()[0]
                row = try decoder.decode(Int32(id), position: Position(position), caches: caches, adapter: nil)
                position += 1
            }
        }
        let rate = Double(decodeTokens) / seconds
        return BenchmarkRow(
            part: "language model", what: "decode after \(decodeAfter)", value: rate, unit: "tokens/s",
            limit: BenchmarkRow.Limit(
                name: "reading", rates: rates, reached: rate * Double(decoder.bytesPerToken)))
    }

    /// Decodes one token after the other of several sessions together, and their speech units.
    private func decodeTogether(_ count: Int) throws -> [BenchmarkRow] {
        let decoder = checkpoint.decoder, caches = (0..<count).map { _ in decoder.makeCaches() }
        var rows = try Tensor.stacking(caches.map { try runPrompt(decodeAfter, $0) })
        var ids = try decoder.logits(rows).indicesOfLargest(), position = Int32(decodeAfter)
        let (seconds, rates) = try timeAgainst(limits.readingRate) {
            for _ in 0..<decodeTokens {
                let tokens = zip(ids, caches).map {
                    SharedToken(Int32($0), position: Position(position), caches: $1, adapter: nil)
                }
                let made = try decoder.decode(tokens) { false }
                for cache in caches.joined() { try cache.quantizeOlderPages() }
                (rows, ids) = (made.hidden, made.logits.indicesOfLargest())
                position += 1
            }
        }
        let steps = Double(decodeTokens) / seconds
        var results = [
            BenchmarkRow(
                part: "language model", what: "decode, \(count) sessions together", value: Double(count) * steps,
                unit: "tokens/s",
                limit: BenchmarkRow.Limit(
                    name: "reading", rates: rates, reached: steps * Double(decoder.bytesPerToken)))
        ]
        guard let generator = checkpoint.generator else { return results }
        var states = (0..<count).map { _ in generator.makeState() }
        let spoken = try median { _ = try generator.append(rows, to: &states) }
        results.append(
            BenchmarkRow(
                part: "speech generator", what: "one token of \(count) sessions", value: spoken * 1e3, unit: "ms",
                limit: nil))
        return results
    }

    private func encodeSpeech() throws -> BenchmarkRow {
        let speech = try checkpoint.speechNetworks.get()
        let samples = (0..<speech.windowSamples).map { Float($0 % 160) / 320 - 0.25 }
        let whisper = preset.whisper, t = Double(whisper.positions), d = Double(whisper.width)
        let layer = 2 * t * (4 * d * d + 2 * d * Double(whisper.inner)) + 4 * t * t * d
        let flops = Double(whisper.layers) * layer + 2 * t * 3 * d * (2 * Double(whisper.mels) + d)
        let (seconds, limit) = try timeAgainstSgemm(operations: flops) {
            var encoding = try speech.encoder.begin(mel: samples.withUnsafeBufferPointer { try speech.mel($0) })
            while true {
                if let encoded = try speech.encoder.step(&encoding) {
                    _ = try speech.project(encoded, adapter: nil)
                    break
                }
            }
        }
        let length = Double(speech.windowSamples) / Double(speech.sampleRate)
        return BenchmarkRow(
            part: "speech encoder", what: "one window of \(Int(length)) s", value: seconds, unit: "s",
            limit: limit)
    }

    private func generate() throws -> BenchmarkRow {
        guard let generator = checkpoint.generator else { throw LyraError(.missing, "there is no speech generator") }
        let row = try runPrompt(8, checkpoint.decoder.makeCaches())
        let g = generator.configuration
        // The q, k and v of the first layer are computed once for all positions of a token.
        let perPosition = g.layers * (4 * g.dim * g.dim + 3 * g.dim * g.inner) - 3 * g.dim * g.dim
        let (seconds, limit) = try timeAgainstSgemm(operations: 4 * 2 * Double(g.upsampling * perPosition)) {
            var state = generator.makeState()
            for _ in 0..<4 { _ = try generator.append(row, to: &state) }
        }
        return BenchmarkRow(
            part: "speech generator", what: "one token", value: seconds / 4 * 1e3, unit: "ms", limit: limit)
    }

    private func vocode() throws -> BenchmarkRow {
        let vocoder = try checkpoint.vocoder.get()
        let units = (0..<100).map { Int32($0 * 37 % preset.generator.units) }
        var samples = 0
        let seconds = try median {
            let stream = VocoderStream(vocoder)
            try stream.append(units)
            stream.finish()
            samples = 0
            let made = GrowingBuffer<Float>()
            while stream.hasWork {
                try stream.produce(into: made)
                samples += made.count
                made.removeAll(keeping: .max)
            }
        }
        let audio = Double(samples) / Double(vocoder.sampleRate)
        return BenchmarkRow(
            part: "vocoder", what: "\((audio * 10).rounded() / 10) s of speech", value: audio / seconds,
            unit: "× real time", limit: nil)
    }

    /// Measures a spoken answer, from the end of its prompt's prefill: text, units and audio together.
    private func answer() throws -> [BenchmarkRow] {
        var options = SessionOptions()
        (options.speaks, options.maxNewTokens, options.sampling) = (true, decodeTokens, .greedy)
        var runs: [(speed: Double, first: Double, audio: Double)] = []
        for _ in 0...repetitions {
            let session = try Session(Model(checkpoint: checkpoint), options: options)
            try session.feed(text: "What is said here?")
            try session.endTurn()
            while try !session.step().contains(.end) { _ = session.readAudio() }
            // In milliseconds, from the end of the turn.
            let timings = session.usage.timings, before = timings.encode + timings.prefill
            let audio = Double(session.usage.audioSamples) / Double(try checkpoint.vocoder.get().sampleRate)
            runs.append((1e3 * audio / (timings.total - before), (timings.firstAudio - before) / 1e3, audio))
        }
        runs.removeFirst()  // not counted, as in `median`
        let speed = runs.map(\.speed).sorted()[repetitions / 2], first = runs.map(\.first).sorted()[repetitions / 2]
        let audio = ((runs.first?.audio ?? 0) * 10).rounded() / 10
        return [
            BenchmarkRow(
                part: "spoken answer", what: "\(decodeTokens) tokens, \(audio) s", value: speed, unit: "× real time",
                limit: nil),
            BenchmarkRow(part: "spoken answer", what: "first audio", value: first, unit: "s", limit: nil),
        ]
    }
}
