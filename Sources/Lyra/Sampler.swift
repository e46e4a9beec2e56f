import Glibc
import LyraTensor

/// Chooses the next token from its scores. A value: copying it saves its random state.
struct Sampler {
    let isGreedy: Bool
    let temperature: Float
    let topK: Int
    let topP: Float
    let minP: Float
    let repetitionPenalty: Float
    var random: SplitMix64

    /// The order of operations is that of `transformers`' generate: penalty, temperature, top-k, top-p, min-p.
    ///
    /// - Parameters:
    ///   - logits: [vocabulary]; must not be empty
    ///   - seen: tokens already in the conversation, for the repetition penalty
    mutating func next(_ logits: Tensor, seen: Set<Int32>) -> Int32 {
        if isGreedy && repetitionPenalty == 1 {
            return logits.withValues {
                Int32(UnsafeBufferPointer(start: $0, count: logits.count).indexOfLargest())
            }
        }
        var scores = logits.values
        penalize(&scores, seen)
        if isGreedy { return Int32(scores.withUnsafeBufferPointer { $0.indexOfLargest() }) }
        return draw(candidates(scores))
    }

    private func penalize(_ scores: inout [Float], _ seen: Set<Int32>) {
        guard repetitionPenalty != 1 else { return }
        for token in seen where scores.indices.contains(Int(token)) {
            let score = scores[Int(token)]
            scores[Int(token)] = score > 0 ? score / repetitionPenalty : score * repetitionPenalty
        }
    }

    /// Tokens that may be drawn with their weights (e^((score − best) / temperature)), most likely first.
    ///
    /// Divided last and in Double: scores over a very low temperature would all be infinite, and no longer differ.
    private func candidates(_ scores: [Float]) -> [(token: Int32, weight: Double)] {
        let finite = scores.indices.filter { !scores[$0].isNaN }
        let ranked: [Int]
        if topK > 0 && topK < finite.count {
            ranked = largest(topK, of: finite, scores)
        } else {
            ranked = finite.sorted { (scores[$0], $1) > (scores[$1], $0) }
        }
        guard let best = ranked.first.map({ scores[$0] }), best.isFinite else { return [(Int32(ranked.first ?? 0), 1)] }
        var kept = ranked.map {
            (token: Int32($0), weight: exp((Double(scores[$0]) - Double(best)) / Double(temperature)))
        }
        if topP < 1 {
            let limit = Double(topP) * kept.reduce(0) { $0 + $1.weight }
            var sum = 0.0
            // The token that reaches p is kept, and always one.
            let count =
                kept.firstIndex {
                    sum += $0.weight; return sum >= limit
                } ?? kept.count - 1
            kept.removeLast(kept.count - count - 1)
        }
        if minP > 0 { kept.removeAll { $0.weight < Double(minP) } }
        return kept
    }

    /// The `count` indices with the largest scores, largest first; of equals the first.
    private func largest(_ count: Int, of indices: [Int], _ scores: [Float]) -> [Int] {
        // A heap of the best so far with the worst of them on top.
        func isWorse(_ a: Int, _ b: Int) -> Bool { scores[a] < scores[b] || scores[a] == scores[b] && a > b }
        var heap = Array(indices.prefix(count))
        func sift(_ start: Int) {
            var i = start
            while true {
                var worst = i
                for child in [2 * i + 1, 2 * i + 2] where child < heap.count && isWorse(heap[child], heap[worst]) {
                    worst = child
                }
                if worst == i { return }
                heap.swapAt(i, worst)
                i = worst
            }
        }
        for i in stride(from: heap.count / 2 - 1, through: 0, by: -1) { sift(i) }
        for index in indices.dropFirst(count) where isWorse(heap[0], index) {
            heap[0] = index
            sift(0)
        }
        return heap.sorted { isWorse($1, $0) }
    }

    private mutating func draw(_ candidates: [(token: Int32, weight: Double)]) -> Int32 {
        let total = candidates.reduce(0) { $0 + $1.weight }
        var target = random.nextUnit() * total
        for (token, weight) in candidates {
            target -= weight
            if target < 0 { return token }
        }
        return candidates.last?.token ?? 0
    }
}

/// A small generator whose whole state is one number (Steele, Lea and Flood, 2014).
struct SplitMix64 {
    private(set) var state: UInt64

    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9e37_79b9_7f4a_7c15
        var z = state
        z = (z ^ (z >> 30)) &* 0xbf58_476d_1ce4_e5b9
        z = (z ^ (z >> 27)) &* 0x94d0_49bb_1331_11eb
        return z ^ (z >> 31)
    }

    /// Uniform in 0..<1.
    mutating func nextUnit() -> Double { Double(next() >> 11) * 0x1p-53 }
}
