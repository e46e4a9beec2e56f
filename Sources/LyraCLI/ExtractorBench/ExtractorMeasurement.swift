import Lyra
import LyraModel
import LyraTensor

/// One way to run a prompt, and what it took.
struct ExtractorCase {
    /// Nil for the baseline.
    var keep: Float?
    var schedule: ExtractionSchedule?
    var prefill: [Double] = []
    var decode: [Double] = []
    /// Bytes of the keys and values of the prompt.
    var cache = 0
    /// Bytes that are allocated for those and for what was decoded: whole pages.
    var allocated = 0
    var peak: Int?

    var name: String { keep.map { "ρ = \($0)" } ?? "baseline" }
    var prefillSeconds: Double { Self.median(prefill) }
    var tokensPerSecond: Double { Self.median(decode) }

    private static func median(_ values: [Double]) -> Double {
        guard !values.isEmpty else { return .nan }
        let sorted = values.sorted(), middle = sorted.count / 2
        return sorted.count % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2
    }
}

/// Runs prompts of nearly nothing but media tokens, with a few of text before and a question after.
struct ExtractorBench {
    /// Tokens before the media and after them.
    static let opening = 16, question = 32
    static let decodeTokens = 32
    /// Seconds after which a length is not measured again.
    private static let patience = 300.0

    let decoder: Decoder
    let keyValueType: KeyValueType
    let repetitions: Int

    /// Bytes that a prompt needs beside the weights: its rows and, while some go, those that stay; keys and values; and
    /// what a chunk takes on its way through a layer.
    func bytesNeeded(tokens: Int) -> Int {
        let language = decoder.configuration
        let rows = 2 * tokens * language.hiddenSize * MemoryLayout<Float>.size
        let cached = (0..<language.layers).map { _ in tokens + Self.decodeTokens }
        let chunk = Prefill.chunkRows * (3 * language.intermediateSize + 8 * language.hiddenSize) * 4
        return rows + decoder.cacheBytes(rows: cached, type: keyValueType) + chunk + 128 << 20
    }

    /// Runs a short prompt, which no figure counts: the first touches weights and starts threads.
    func warmUp() throws {
        var unmeasured = ExtractorCase()
        _ = try run(&unmeasured, 128, { _, _ in })
    }

    /// Measures all cases at one length in turns, A B C A B C, so that what slows the machine down slows all.
    ///
    /// - Parameter show: told which case is run, and how far its prefill is
    /// - Returns: false if interrupted; what is half done is then not in the cases.
    func measure(
        _ cases: inout [ExtractorCase], tokens: Int, show: (ExtractorCase, _ done: Int, _ total: Int) -> Void
    ) throws -> Bool {
        let start = now()
        for round in 0..<repetitions {
            if round > 0, now() - start > Self.patience { break }
            for index in cases.indices {
                let current = cases[index]
                guard try run(&cases[index], tokens, { show(current, $0, $1) }) else { return false }
            }
        }
        return true
    }

    private func run(_ current: inout ExtractorCase, _ tokens: Int, _ show: (Int, Int) -> Void) throws -> Bool {
        ProcessMemory.resetPeak()
        let caches = decoder.makeCaches(type: keyValueType)
        let media = tokens - Self.opening - Self.question
        let roles = [TokenRole](repeating: .text, count: Self.opening) + [TokenRole](repeating: .media, count: media)
        let vocabulary = decoder.configuration.vocabularySize
        var prefill = try Prefill(
            decoder, embeddings: decoder.embed((0..<tokens).map { Int32($0 * 7919 % vocabulary) }),
            positions: (0..<Int32(tokens)).map { Position($0) },
            roles: roles + [TokenRole](repeating: .text, count: Self.question), schedule: current.schedule)
        let start = now()
        while !prefill.isDone {
            if Interrupt.isRequested { return false }
            try prefill.step(decoder, caches: caches, adapter: nil)
            show(prefill.progress.done, prefill.progress.total)
        }
        var row = try prefill.lastRow(decoder)
        let prefilled = now()
        current.cache = caches.reduce(0) { $0 + $1.usedByteCount }
        for step in 0..<Self.decodeTokens {
            if Interrupt.isRequested { return false }
            let logits = try decoder.logits(row)
            let id = logits.indicesOfLargest()[0]
            row = try decoder.decode(
                Int32(id), position: Position(Int32(tokens + step)), caches: caches, adapter: nil)
        }
        current.prefill.append(prefilled - start)
        current.decode.append(Double(Self.decodeTokens) / (now() - prefilled))
        current.allocated = caches.reduce(0) { $0 + $1.byteCount }
        current.peak = ProcessMemory.peak.map { max($0, current.peak ?? 0) }
        return true
    }
}
