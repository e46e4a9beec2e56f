import Glibc
import LyraBase
import LyraTensor

/// Samples the next token from the logits. A value type: a copy saves the random state.
struct Sampler {
    let isGreedy: Bool
    let temperature: Float
    let topK: Int
    let topP: Float
    let minP: Float
    let repetitionPenalty: Float
    var random: SplitMix64

    /// Applies the options in the order of `transformers`' generate: penalty, temperature, top-k, top-p, min-p.
    ///
    /// - Parameters:
    ///   - logits: [vocabulary]; must not be empty
    ///   - seen: tokens already in the conversation, for the repetition penalty
    /// - Throws: `LyraError.memory` if there is no room.
    mutating func next(_ logits: Tensor, seen: TokenSet? = nil) throws -> Int32 {
        if isGreedy && repetitionPenalty == 1 { return Int32(logits.indicesOfLargest()[0]) }
        let scores = GrowingBuffer<Float>()
        try scores.append(logits)
        penalize(scores, seen)
        return isGreedy ? try ranked(scores).first ?? 0 : draw(try candidates(scores))
    }

    private func penalize(_ scores: GrowingBuffer<Float>, _ seen: TokenSet?) {
        guard repetitionPenalty != 1, let seen else { return }
        for token in scores.indices where seen.contains(token) {
            let score = scores[token]
            scores[token] = score > 0 ? score / repetitionPenalty : score * repetitionPenalty
        }
    }

    private typealias Candidate = (token: Int32, weight: Double)

    /// Candidate tokens with their weights, e^((score − best) / temperature), most likely first.
    ///
    /// The division comes last and in Double: scores divided by a very low temperature would all become infinite and
    /// equal.
    private func candidates(_ scores: GrowingBuffer<Float>) throws -> GrowingBuffer<Candidate> {
        let tokens = try ranked(scores)
        if topK > 0 { tokens.truncate(to: topK) }
        let best = tokens.first.map { scores[Int($0)] } ?? 0
        guard best.isFinite, !tokens.isEmpty else { return try GrowingBuffer(copying: [(tokens.first ?? 0, 1)]) }
        let kept = try GrowingBuffer<Candidate>(
            copying: tokens.lazy.map {
                (token: $0, weight: exp((Double(scores[Int($0)]) - Double(best)) / Double(temperature)))
            })
        if topP < 1 {
            let limit = Double(topP) * kept.reduce(0) { $0 + $1.weight }
            var sum = 0.0
            // Includes the token that reaches p, so there is always at least one.
            let count =
                kept.firstIndex {
                    sum += $0.weight; return sum >= limit
                } ?? kept.count - 1
            kept.truncate(to: count + 1)
        }
        if minP > 0 {
            // Sorted by weight, most likely first.
            kept.truncate(to: kept.firstIndex { $0.weight < Double(minP) } ?? kept.count)
        }
        return kept
    }

    private mutating func draw(_ candidates: GrowingBuffer<Candidate>) -> Int32 {
        let total = candidates.reduce(0) { $0 + $1.weight }
        var target = random.nextUnit() * total
        for (token, weight) in candidates {
            target -= weight
            if target < 0 { return token }
        }
        return candidates.last?.token ?? 0
    }
}

/// A set of tokens.
struct TokenSet {
    /// For each token, whether it is in the set.
    private let members: GrowingBuffer<Bool>

    /// - Throws: `LyraError.memory` if there is no room.
    init(_ tokens: some Sequence<Int32>, vocabulary: Int) throws {
        members = try GrowingBuffer(repeating: false, count: vocabulary)
        for token in tokens { insert(token) }
    }

    /// Ignores a number that is not a token.
    func insert(_ token: Int32) {
        if token >= 0, Int(token) < members.count { members[Int(token)] = true }
    }

    func contains(_ token: Int) -> Bool { token < members.count && members[token] }
}
