import Foundation
import LyraBase
import LyraTensor
import TestSupport
import Testing

@testable import Lyra

/// Drawing the next token.
@Suite struct SamplerTests {
    private func sampler(
        greedy: Bool = false, temperature: Float = 1, topK: Int = 0, topP: Float = 1, minP: Float = 0,
        penalty: Float = 1, seed: UInt64 = 1
    ) -> Sampler {
        Sampler(
            isGreedy: greedy, temperature: temperature, topK: topK, topP: topP, minP: minP, repetitionPenalty: penalty,
            random: SplitMix64(seed: seed))
    }

    private func seen(_ tokens: [Int32]) throws -> TokenSet { try TokenSet(tokens, vocabulary: logits.count) }

    private let logits: [Float] = [1.5, -0.5, 3, 2.9, 0, -2, 2, 0.7]

    /// The share of draws of each token.
    private func shares(_ sampler: Sampler, _ logits: [Float], draws: Int = 20_000) throws -> [Double] {
        var sampler = sampler
        var counts = [Double](repeating: 0, count: logits.count)
        let tensor = try Tensor([1, logits.count], logits)
        for _ in 0..<draws { counts[Int(try sampler.next(tensor))] += 1 / Double(draws) }
        return counts
    }

    /// The probabilities of the tokens that `isKept` keeps, by rank (0 is the most likely) and probability.
    private func expected(_ temperature: Double, _ isKept: (_ rank: Int, _ before: Double, _ share: Double) -> Bool)
        -> [Double]
    {
        let weights = logits.map { exp(Double($0) / temperature) }
        let sum = weights.reduce(0, +)
        var before = 0.0, kept = [Double](repeating: 0, count: logits.count)
        for (rank, index) in weights.indices.sorted(by: { weights[$0] > weights[$1] }).enumerated() {
            if isKept(rank, before, weights[index] / sum) { kept[index] = weights[index] }
            before += weights[index] / sum
        }
        let total = kept.reduce(0, +)
        return kept.map { $0 / total }
    }

    /// Four standard deviations of a share of a half over 20,000 draws are 0.014.
    private func expectClose(_ got: [Double], _ want: [Double]) {
        for (got, want) in zip(got, want) {
            #expect(abs(got - want) < 0.015)
            if want == 0 { #expect(got == 0, "drawn although it was excluded") }
        }
    }

    @Test func sharesFollowTheProbabilities() throws {
        expectClose(try shares(sampler(), logits), expected(1) { _, _, _ in true })
        expectClose(try shares(sampler(temperature: 2.5), logits), expected(2.5) { _, _, _ in true })
        expectClose(try shares(sampler(topK: 3), logits), expected(1) { rank, _, _ in rank < 3 })
        expectClose(try shares(sampler(topP: 0.8), logits), expected(1) { _, before, _ in before < 0.8 })
        let best = expected(1) { _, _, _ in true }.max() ?? 1
        expectClose(try shares(sampler(minP: 0.2), logits), expected(1) { _, _, share in share >= 0.2 * best })
        expectClose(
            try shares(sampler(temperature: 0.7, topK: 4, topP: 0.99), logits),
            expected(0.7) { rank, _, _ in rank < 4 })
    }

    @Test func greedyAndTheNarrowestLimitsTakeTheMostLikelyToken() throws {
        let tensor = try Tensor([1, logits.count], logits)
        for var narrow in [
            sampler(greedy: true), sampler(topK: 1), sampler(topP: 0.001), sampler(minP: 1),
            sampler(temperature: 0.001),
        ] {
            #expect(try narrow.next(tensor) == 2)
        }
    }

    @Test func aVeryLowTemperatureTakesTheMostLikelyToken() throws {
        var cold = sampler(temperature: .leastNormalMagnitude / 12)
        #expect(try cold.next(Tensor([1, 3], [1, 3, 2])) == 1)
    }

    /// The fixture's generation_config.json asks for sampling with top-k 1.
    @Test func theCheckpointsSamplingIsTheDefault() throws {
        var options = SessionOptions()
        options.maxNewTokens = 12
        let session = try Session(Golden.a.model, options: options)
        #expect(try session.ask("Hello! Who are you?").tokens == Golden.a.integers("turn_text", "out.ids"))
    }

    @Test func repetitionIsPenalizedAsInTransformers() throws {
        // Positive scores are divided, negative ones multiplied: 3 / 1.2 is below 2.9.
        let tensor = try Tensor([1, logits.count], logits)
        var penalized = sampler(greedy: true, penalty: 1.2)
        #expect(try penalized.next(tensor, seen: seen([2])) == 3)
        #expect(try penalized.next(tensor, seen: seen([2, 3, 99, -1])) == 2)
        var negative = sampler(greedy: true, penalty: 2)
        #expect(try negative.next(Tensor([1, 2], [-1, -1.5]), seen: seen([0])) == 1)
    }

    @Test func theSameSeedGivesTheSameTokens() throws {
        let tensor = try Tensor([1, logits.count], logits)
        func draw(_ seed: UInt64) throws -> [Int32] {
            var sampler = sampler(seed: seed)
            return try (0..<50).map { _ in try sampler.next(tensor) }
        }
        #expect(try draw(3) == draw(3))
        #expect(try draw(3) != draw(4))
    }

    @Test func nanAndInfiniteScoresDoNotCrash() throws {
        let bad: [[Float]] = [
            [.nan, .nan], [.infinity, 1], [-.infinity, -.infinity], [.nan, 1, .infinity],
            [.greatestFiniteMagnitude, -1],
            [-.infinity, 0],
        ]
        for values in bad {
            let tensor = try Tensor([1, values.count], values)
            for var one in [
                sampler(greedy: true), sampler(), sampler(topK: 1), sampler(topK: 2, topP: 0.5, minP: 0.1),
                sampler(temperature: 1e-30, penalty: 1e30),
            ] {
                #expect(values.indices.contains(Int(try one.next(tensor, seen: seen([0])))))
            }
        }
    }
}
