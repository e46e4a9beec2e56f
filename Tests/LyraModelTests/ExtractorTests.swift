import LyraFormats
import LyraTensor
import TestSupport
import Testing

@testable import LyraModel

/// The extractor against the reference: which tokens are kept, and the answers.
@Suite struct ExtractorTests {
    private static let turns: [(name: String, gap: Int, keep: Float, adapter: String)] = [
        ("turn_long_extractor", 2, 0.7, "long_speech"), ("turn_image_extractor", 3, 0.5, "speech"),
    ]

    @Test(arguments: Golden.both, turns)
    func keptTokensAnswersAndHiddenStatesEqualTheReference(
        _ golden: Golden, _ turn: (name: String, gap: Int, keep: Float, adapter: String)
    ) throws {
        let values = try golden.values(turn.name), decoder = golden.checkpoint.decoder
        let embeddings = try values.tensor("in.embeddings")
        // A row that equals an embedding of the vocabulary is text, in the reference too.
        let roles = try roles(of: embeddings, decoder)
        let answer = try Greedy(
            decoder, embeddings, values.positions(), next: Int32(values.integers("out.next_position")[0]),
            adapter: golden.checkpoint.adapterIndex(turn.adapter), stop: [2050, 2048], roles: roles,
            extractor: Extractor(gap: turn.gap, keep: turn.keep))
        let blocks = (decoder.layerCount - 1) / turn.gap
        #expect(answer.kept.count == blocks)
        for block in 0..<blocks {
            let alive = try values.integers("out.kept_\(block)").filter { roles[Int($0)] == .media }
            #expect(answer.kept[block] == alive, "block \(block)")
        }
        #expect(answer.ids == (try values.integers("out.ids")))
        #expect(difference(answer.firstLogits, try values.floats("out.first_logits")) < Golden.tolerance)
        #expect(difference(answer.rows, try values.floats("out.hidden")) < Golden.tolerance)
        // Caches differ in length: a pruned token is in none of the later layers.
        let text = roles.count { $0 == .text }
        for (layer, rows) in answer.cacheRows.enumerated() {
            let block = layer / turn.gap
            let media = block == 0 ? roles.count - text : answer.kept[block - 1].count
            #expect(rows == text + media + answer.ids.count - 1, "layer \(layer)")
        }
    }

    private func roles(of embeddings: Tensor, _ decoder: Decoder) throws -> [TokenRole] {
        let all = try decoder.embed(Array(0..<Int32(decoder.configuration.vocabularySize))).values
        let columns = embeddings.columns
        let known = Set((0..<all.count / columns).map { Array(all[$0 * columns..<$0 * columns + 8]) })
        let values = embeddings.values
        return (0..<embeddings.rows).map {
            known.contains(Array(values[$0 * columns..<$0 * columns + 8])) ? .text : .media
        }
    }

    /// Four media tokens, two text tokens, eighty media tokens, six text tokens. The first pruning removes the first
    /// four media tokens. The text after them must still count as queries in later prunings. Fixtures/extractor has
    /// the tokens that an independent implementation in float32 keeps on checkpoint a; others without these queries.
    @Test func textAfterAnEntirelyPrunedMediumStillQueries() throws {
        let values = try GoldenCase(file: Safetensors(path: Golden.path("extractor") + "/two_media.safetensors"))
        let decoder = Golden.a.checkpoint.decoder, embeddings = try values.tensor("in.embeddings")
        let roles = try values.integers("in.media").map { $0 == 1 ? TokenRole.media : .text }
        let caches = decoder.makeCaches()
        var prefill = try Prefill(
            decoder, embeddings: embeddings, positions: roles.indices.map { Position(Int32($0)) }, roles: roles,
            schedule: ExtractionSchedule(Extractor(gap: 2, keep: 0.5), layers: decoder.layerCount))
        while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: nil) }
        #expect(prefill.kept.count == 3)
        for (block, kept) in prefill.kept.enumerated() {
            let alive = try values.integers("out.kept_\(block)").filter { roles[$0] == .media }
            #expect(kept.elements.map { Int($0) } == alive, "block \(block)")
        }
        #expect(difference(try prefill.lastRows(decoder).values, try values.floats("out.hidden")) < Golden.tolerance)
    }

    /// By hand, from the definition: max(32, ⌊count · ρ⌋) with the product in float32; fewer than 32 are all kept.
    @Test func theNumberOfKeptTokensFollowsTheDefinition() throws {
        let schedule = try #require(ExtractionSchedule(gap: 7, keep: 0.7, layers: 28))
        for (count, kept) in [
            (0, 0), (1, 1), (31, 31), (32, 32), (33, 32), (45, 32), (46, 32), (47, 32), (90, 63), (100, 70), (300, 210),
        ] {
            #expect(schedule.keptCount(of: count) == kept, "of \(count)")
        }
        #expect(
            schedule.counts(of: 1000, layers: 28) == [1000, 700, 490, 343].flatMap { [Int](repeating: $0, count: 7) })
        #expect((0..<28).filter { schedule.prunes(after: $0, of: 28) } == [6, 13, 20])
    }

    @Test func layersThatBlocksDoNotDivideAreRoundedDown() throws {
        func prunes(_ blocks: Int, _ layers: Int) throws -> [Int] {
            guard let schedule = try ExtractionSchedule(Extractor(blocks: blocks, keep: 0.5), layers: layers) else {
                return []
            }
            return (0..<layers).filter { schedule.prunes(after: $0, of: layers) }
        }
        #expect(try prunes(4, 28) == [6, 13, 20])
        #expect(try prunes(3, 8) == [1, 3, 5])
        #expect(try prunes(1, 8) == [])
        #expect(try prunes(100, 4) == [0, 1, 2])
        #expect(try ExtractionSchedule(Extractor(blocks: 4, keep: 1), layers: 28) == nil)
    }

    @Test func theHighestScoresAreKeptInTheirOrder() throws {
        let schedule = try #require(ExtractionSchedule(gap: 1, keep: 0.5, layers: 2))
        func choose(_ scores: [Float]) throws -> [Int] {
            let chosen = try schedule.choose(scores)
            return withExtendedLifetime(chosen) { chosen.elements.map { Int($0) } }
        }
        var scores = (0..<70).map { Float(($0 * 37) % 70) }
        let wanted = scores.indices.filter { scores[$0] >= 35 }
        #expect(try choose(scores) == wanted)
        scores[wanted[0]] = .nan
        #expect(try !choose(scores).contains(wanted[0]), "NaN is the lowest")
        #expect(try choose([Float](repeating: 1, count: 70)) == Array(0..<35), "the first of equal scores")
    }

    @Test func numbersOutOfRangeAreErrors() {
        for blocks in [0, -1, 1025] { expect(.argument) { _ = try Extractor(blocks: blocks, keep: 0.5) } }
        for keep in [0, -0.1, 1.01, .nan] as [Float] { expect(.argument) { _ = try Extractor(gap: 2, keep: keep) } }
    }

    @Test func withoutMediaNothingIsPruned() throws {
        let decoder = Golden.a.checkpoint.decoder
        let ids: [Int32] = (0..<50).map { $0 * 7 }, positions = ids.indices.map { Position(Int32($0)) }
        func last(_ roles: [TokenRole], _ schedule: ExtractionSchedule?) throws -> [Float] {
            let caches = decoder.makeCaches()
            var prefill = try Prefill(
                decoder, embeddings: decoder.embed(ids), positions: positions, roles: roles, schedule: schedule)
            while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: nil) }
            #expect(prefill.kept.isEmpty)
            return try prefill.lastRows(decoder).values
        }
        let schedule = try ExtractionSchedule(Extractor(gap: 2, keep: 0.5), layers: decoder.layerCount)
        #expect(try last([TokenRole](repeating: .text, count: 50), schedule) == last([], nil))
    }
}
