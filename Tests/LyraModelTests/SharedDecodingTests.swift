import LyraTensor
import TestSupport
import Testing

@testable import LyraModel

/// Tokens of several conversations that are decoded together, against each alone.
@Suite struct SharedDecodingTests {
    /// A conversation of some length with a random prompt.
    private struct Talk {
        let caches: [KeyValueCache]
        let adapter: Int?
        var position: Int32

        init(_ decoder: Decoder, length: Int, adapter: Int?, type: KeyValueType) throws {
            (caches, self.adapter, position) = (decoder.makeCaches(type: type), adapter, Int32(length))
            let ids = (0..<length).map { Int32(($0 * 37 + length) % 2000) }
            var prefill = try Prefill(
                decoder, embeddings: decoder.embed(ids, adapter: adapter),
                positions: ids.indices.map { Position(Int32($0)) })
            while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: adapter) }
        }
    }

    /// Lengths around pages, adapters in any order, and every type of cache.
    private func talks(_ decoder: Decoder) throws -> [Talk] {
        let adapters: [Int?] = [nil, 0, 0, 1, nil, 1, 0]
        return try [3, 255, 256, 40, 800, 1, 90].enumerated().map { index, length in
            try Talk(
                decoder, length: length, adapter: adapters[index],
                type: KeyValueType.allCases[index % KeyValueType.allCases.count])
        }
    }

    @Test(arguments: Golden.both) func logitsAreThoseOfEachAlone(_ golden: Golden) throws {
        let decoder = golden.checkpoint.decoder
        var (together, alone) = (try talks(decoder), try talks(decoder))
        for step in 0..<3 {
            let ids = together.indices.map { Int32($0 * 100 + step) }
            let tokens = zip(ids, together).map {
                SharedToken($0, position: Position($1.position), caches: $1.caches, adapter: $1.adapter)
            }
            let got = try decoder.decode(tokens) { false }
            for cache in tokens.flatMap(\.caches) { try cache.quantizeOlderPages() }
            for index in alone.indices {
                let talk = alone[index]
                let row = try decoder.decode(
                    ids[index], position: Position(talk.position), caches: talk.caches, adapter: talk.adapter)
                let want = try decoder.logits(row, adapter: talk.adapter).values
                #expect(difference(got.logits.rows(index..<index + 1).values, want) < 1e-5, "\(index), step \(step)")
                #expect(difference(got.hidden.rows(index..<index + 1).values, row.values) < 1e-5)
                #expect(together[index].caches.map(\.rows) == talk.caches.map(\.rows))
                together[index].position += 1
                alone[index].position += 1
            }
        }
    }

    @Test func anErrorLeavesAllCachesAsTheyWere() throws {
        let decoder = Golden.a.checkpoint.decoder
        let talks = try talks(decoder)
        func state() -> [[[Int]]] { talks.map { $0.caches.map { [$0.rows, $0.quantizedPages, $0.byteCount] } } }
        let before = state()
        func decode(_ ids: [Int32], interruptedAfter layers: Int) throws {
            var asked = 0
            let tokens = zip(ids, talks).map {
                SharedToken($0, position: Position($1.position), caches: $1.caches, adapter: $1.adapter)
            }
            _ = try decoder.decode(tokens) {
                asked += 1
                return asked > layers
            }
        }
        #expect(throws: (any Error).self) { try decode([1, 2, 3, 4, 5, 6, 7], interruptedAfter: 3) }
        #expect(throws: (any Error).self) { try decode([1, 2, 3, 4, 5, 6, 1 << 20], interruptedAfter: 100) }
        #expect(state() == before)
    }

    /// Units of answers at different places are those of each alone.
    @Test(arguments: Golden.both) func unitsAreThoseOfEachAlone(_ golden: Golden) throws {
        let generator = try #require(golden.checkpoint.generator)
        var random = SeededGenerator(state: 5)
        let width = golden.checkpoint.decoder.configuration.hiddenSize
        func row() throws -> Tensor {
            try Tensor([1, width], (0..<width).map { _ in Float.random(in: -1...1, using: &random) })
        }
        var together = [0, 1, 0, 2].map { generator.makeState(contextRows: $0) }
        var alone = [0, 1, 0, 2].map { generator.makeState(contextRows: $0) }
        let early = try row()
        #expect(try generator.append(early, to: &together[2]) == generator.append(early, to: &alone[2]))
        for _ in 0..<4 {
            let rows = try (0..<4).map { _ in try row() }
            let got = try generator.append(Tensor.stacking(rows), to: &together)
            let want = try rows.indices.map { try generator.append(rows[$0], to: &alone[$0]) }
            #expect(got == want)
        }
    }
}
