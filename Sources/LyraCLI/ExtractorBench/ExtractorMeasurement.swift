import Lyra
import LyraBase
import LyraModel
import LyraTensor

/// A configuration to measure, with its results.
struct ExtractorCase {
    /// Share of media tokens kept; nil for the baseline.
    var keep: Float?
    var schedule: ExtractionSchedule?
    var prefill: [Double] = []
    var decode: [Double] = []
    /// Bytes of the prompt's keys and values.
    var cache = 0
    /// Bytes allocated for the keys and values of the prompt and of the decoded tokens, in whole pages.
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

/// Runs prompts that consist almost entirely of media tokens, with some text before and a question after.
struct ExtractorBench {
    /// Number of tokens before and after the media.
    static let opening = 16, question = 32
    static let decodeTokens = 32
    /// After this many seconds at one length, no further round begins.
    private static let patience = 300.0

    let decoder: Decoder
    let keyValueType: KeyValueType
    let repetitions: Int

    /// Bytes that a prompt needs in addition to the weights: its rows (and a copy of the kept rows during pruning),
    /// keys and values, and the buffers for one chunk in a layer.
    func bytesNeeded(tokens: Int) -> Int {
        let language = decoder.configuration
        let rows = 2 * tokens * language.hiddenSize * MemoryLayout<Float>.size
        let cached = (0..<language.layers).map { _ in tokens + Self.decodeTokens }
        let chunk = Prefill.chunkRows * (3 * language.intermediateSize + 8 * language.hiddenSize) * 4
        return rows + decoder.cacheBytes(rows: cached, type: keyValueType) + chunk + 128 << 20
    }

    /// Runs a short prompt without measuring it, because the first prompt pages in weights and starts threads.
    func warmUp() throws {
        var unmeasured = ExtractorCase()
        _ = try run(&unmeasured, 128, { _, _ in })
    }

    /// Measures all cases at one length in turns, A B C A B C, so that other load affects all of them alike.
    ///
    /// - Parameter show: receives the current case and the progress of its prefill
    /// - Returns: false if interrupted; the cases then exclude the unfinished round
    func measure(
        _ cases: inout [ExtractorCase], tokens: Int, show: (ExtractorCase, _ done: Int, _ total: Int) -> Void
    ) throws -> Bool {
        let start = MonotonicTime.seconds
        for round in 0..<repetitions {
            if round > 0, MonotonicTime.seconds - start > Self.patience { break }
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
        let start = MonotonicTime.seconds
        while !prefill.isDone {
            if Interrupt.isRequested { return false }
            try prefill.step(decoder, caches: caches, adapter: nil)
            show(prefill.progress.done, prefill.progress.total)
        }
        var row = try prefill.lastRows(decoder)
        let prefilled = MonotonicTime.seconds
        current.cache = caches.reduce(0) { $0 + $1.usedByteCount }
        for step in 0..<Self.decodeTokens {
            if Interrupt.isRequested { return false }
            let logits = try decoder.logits(row)
            let id = logits.indicesOfLargest()[0]
            row = try decoder.decode(
                Int32(id), position: Position(Int32(tokens + step)), caches: caches, adapter: nil)
        }
        current.prefill.append(prefilled - start)
        current.decode.append(Double(Self.decodeTokens) / (MonotonicTime.seconds - prefilled))
        current.allocated = caches.reduce(0) { $0 + $1.byteCount }
        current.peak = ProcessMemory.peak.map { max($0, current.peak ?? 0) }
        return true
    }
}
