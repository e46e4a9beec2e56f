import LyraBase
import LyraTensor

/// A sample's prompt and answer, as a training batch computes it.
package struct BatchSample {
    /// [tokens, hidden]
    package let embeddings: Tensor
    package let positions: [Position]
    /// Whether each row is a media token.
    package let isMedia: [Bool]
    /// Whether each row's query scores the media tokens for the extractor: the text after a turn's first medium,
    /// without the answer.
    package let isQuery: [Bool]
    /// The turn of each row, in ascending order. As in a session, the extractor prunes each turn's media separately: by
    /// that turn's queries, over the keys of this turn and those before, because later ones do not exist yet.
    package let turns: [Int]

    /// - Parameter turns: nil for one turn
    /// - Throws: `LyraError.argument` if the counts differ, if there is no row, or if a turn follows a later one.
    package init(
        embeddings: Tensor, positions: [Position], isMedia: [Bool], isQuery: [Bool], turns: [Int]? = nil
    ) throws {
        let turns = turns ?? [Int](repeating: 0, count: positions.count)
        let counts = [positions.count, isMedia.count, isQuery.count, turns.count]
        guard embeddings.rows > 0, counts.allSatisfy({ $0 == embeddings.rows }) else {
            throw LyraError(.argument, "\(embeddings.rows) embeddings with \(positions.count) positions in a sample")
        }
        guard zip(turns, turns.dropFirst()).allSatisfy({ $0 <= $1 }) else {
            throw LyraError(.argument, "the rows of a sample are not in the order of their turns")
        }
        (self.embeddings, self.positions) = (embeddings, positions)
        (self.isMedia, self.isQuery, self.turns) = (isMedia, isQuery, turns)
    }
}

/// The result of a forward pass over a batch.
package struct BatchOutput {
    /// Hidden states after the final norm, all samples stacked.
    package let hidden: Tensor
    /// For each sample, the index within the sample of each row that is left.
    package let rows: [[Int]]
}

extension Decoder {
    /// Runs the samples of a batch through all layers; gradients reach embeddings and trainable parameters. A sample
    /// attends to itself only.
    ///
    /// - Parameters:
    ///   - schedule: where media tokens are pruned; nil for no pruning
    ///   - recomputesLayers: whether only the layers' inputs stay in memory until the gradient is computed
    /// - Throws: `LyraError.argument` without a sample; `.memory`, `.io`, and `.state` if interrupted.
    package func callAsFunction(
        _ samples: [BatchSample], adapter: Int?, schedule: ExtractionSchedule? = nil, recomputesLayers: Bool = false
    ) throws -> BatchOutput {
        guard !samples.isEmpty else { throw LyraError(.argument, "a batch needs at least one sample") }
        var x = try Tensor.stacking(samples.map(\.embeddings))
        var rows = samples.map { Array($0.positions.indices) }
        var rotation = try rotation(samples.flatMap(\.positions))
        for (index, layer) in layers.enumerated() {
            let lengths = rows.map(\.count), turn = rotation
            let prunes = schedule?.prunes(after: index, of: layers.count) ?? false
            var scored: (queries: Tensor, keys: Tensor?)?
            func run(_ x: Tensor) throws -> Tensor {
                let context = BatchContext(lengths: lengths)
                let result = try layer(x, rotation: turn, cache: context, adapters: RowAdapters(adapter))
                // What this function holds stays in memory until the layer's gradient is computed.
                if prunes { scored = (result.queries.detached, context.keys) }
                return result.output
            }
            x = recomputesLayers ? try recomputing([x]) { try run($0[0]) } : try run(x)
            guard let schedule, case let (queries, keys?)? = scored else { continue }
            scored = nil
            let remaining = try remainingRows(samples, rows, queries: queries, keys: keys, schedule)
            x = try x.keepingRows(remaining.flatMap(\.places))
            rows = remaining.map(\.rows)
            rotation = try self.rotation(
                zip(samples, rows).flatMap { sample, rows in rows.map { sample.positions[$0] } })
        }
        return BatchOutput(hidden: try normalize(x, adapter: adapter), rows: rows)
    }

    /// The rows of each sample that the extractor keeps: indices within the sample, and places in the batch.
    private func remainingRows(
        _ samples: [BatchSample], _ rows: [[Int]], queries: Tensor, keys: Tensor, _ schedule: ExtractionSchedule
    ) throws -> [(rows: [Int], places: [Int32])] {
        var start = 0
        return try zip(samples, rows).map { sample, rows in
            defer { start += rows.count }
            let first = start
            let cache = KeyValueCache(kvHeads: configuration.kvHeads, headDim: configuration.headDim)
            let media = Dictionary(
                grouping: rows.indices.filter { sample.isMedia[rows[$0]] }, by: { sample.turns[rows[$0]] })
            var pruned: Set<Int> = []
            for (turn, media) in media.sorted(by: { $0.key < $1.key }) {
                let asking = rows.indices.filter { sample.isQuery[rows[$0]] && sample.turns[rows[$0]] == turn }
                guard !asking.isEmpty else { continue }
                // The cache grows turn by turn, as a session's.
                let end = rows.firstIndex { sample.turns[$0] > turn } ?? rows.count
                let new = keys.rows(first + cache.rows..<first + end)
                try cache.append(keys: new, values: new)
                let scores = try cache.meanAttentionWeights(
                    queries: queries.keepingRows(asking.map { Int32(first + $0) }), heads: configuration.heads)
                let kept = Set(try schedule.choose(media.lazy.map { scores[$0] }).map { media[Int($0)] })
                pruned.formUnion(media.lazy.filter { !kept.contains($0) })
            }
            let places = rows.indices.filter { !pruned.contains($0) }
            return (rows: places.map { rows[$0] }, places: places.map { Int32(first + $0) })
        }
    }
}
