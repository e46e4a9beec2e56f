import LyraBase
import Testing

@testable import LyraEvaluation

/// Scores as the published evaluation computes them. The expected values were computed by its Python code.
@Suite struct QuestionScoreTests {
    @Test(arguments: [
        ("  The Red Car. ", "red car"), ("a", ""), ("TWO dogs", "2 dogs"), ("1,000", "1000"), ("3.5 m", "3.5 m"),
        ("it's a T-shirt!", "it 's t shirt"), ("yes - no", "yes no"), ("stop-and-go", "stop and go"),
        ("dont know", "don't know"), ("He couldnt've", "he couldn't've"), ("What's\nup?", "what 's up"),
        ("U.S.A.", "usa"), ("x.1 . 2", "x.1 2"), ("A/B", "b"), ("none", "0"), ("\"Quoted\" word", "quoted word"),
        ("wont. ", "won't"), (String(repeating: ".", count: 40), "........"), ("Élan, ﬁve?", "élan ﬁve"),
        ("hes at yall", "he's at y'all"), ("(a) one", "1"), ("e-mail @ home", "e mail home"), ("v1.2.", "v1.2"),
        ("\u{a0}padded\u{3000}", "padded"),
    ])
    func vqaNormalizesAsItsEvaluation(answer: String, normalized: String) {
        #expect(AnswerNormalizer(.vqa)(answer) == normalized)
    }

    @Test func otherNormalizers() {
        #expect(AnswerNormalizer(.english)("  Twenty-one, don't! ") == "21 do not")
        #expect(AnswerNormalizer(.none)(" \nThe Car. ") == "The Car.")
    }

    /// Tolerance: the order of the sums differs.
    @Test(
        arguments: [
            (0, 10, 0), (1, 10, 0.3), (2, 10, 0.6), (3, 10, 0.9), (4, 10, 1), (10, 10, 1), (2, 2, 1.0 / 3),
            (1, 3, 2.0 / 9), (3, 3, 2.0 / 3), (2, 5, 8.0 / 15),
        ] as [(Int, Int, Double)])
    func accuracyLeavesOneAnswerOut(matches: Int, count: Int, accuracy: Double) throws {
        let expected = (0..<count).map { $0 < matches ? "The cat" : "dog \($0)" }
        let score = QuestionScore("cat.", expected: expected, AnswerNormalizer(.vqa))
        #expect(score.isExact == (matches > 0))
        #expect(abs(try #require(score.accuracy) - accuracy) < 1e-12)
    }

    @Test func oneExpectedAnswerHasNoAccuracy() {
        let score = QuestionScore("Two", expected: ["2"], AnswerNormalizer(.vqa))
        #expect(score == QuestionScore("two", expected: ["2"], AnswerNormalizer(.vqa)))
        #expect(score.isExact && score.accuracy == nil)
        #expect(!QuestionScore("two", expected: ["2"], AnswerNormalizer(.none)).isExact)
    }
}

/// Intervals as a Python program computes them with its own SplitMix64 and numpy's `percentile`. Tolerance: the order
/// of the sums differs.
@Suite struct BootstrapTests {
    private static let scores = [0, 1, 1, 0.3, 0.6, 0.9, 1, 0, 0, 1, 0.25]

    @Test(
        arguments: [
            (scores, 1000, 7, 0.55, 0.28625, 0.8),
            (scores, 3, 1, 0.55, 0.47795454545454535, 0.538409090909091),
            ([1, 0, 0, -1, 0, 1, 1, 0], 500, 0, 0.25, -0.25, 0.6906249999999972),
            ([0.5], 10, 3, 0.5, 0.5, 0.5),
        ] as [([Double], Int, Int, Double, Double, Double)])
    func estimatesEqualNumpys(values: [Double], resamples: Int, seed: Int, mean: Double, low: Double, high: Double)
        throws
    {
        let estimate = try #require(Bootstrap(resamples: resamples, seed: UInt64(seed)).estimate(values))
        #expect(estimate.count == values.count)
        for (got, expected) in [(estimate.mean, mean), (estimate.low, low), (estimate.high, high)] {
            #expect(abs(got - expected) < 1e-12)
        }
    }

    /// 200 of 400: the normal approximation gives 0.5 ± 1.96 · √(0.25 / 400). A resample changes the share by 1 / 400,
    /// and a thousand resamples place a percentile within about a tenth of the width.
    @Test func theIntervalOfAShareIsTheBinomials() throws {
        let values = (0..<400).map { Double($0 % 2) }
        let estimate = try #require(Bootstrap(resamples: 1000, seed: 3).estimate(values))
        #expect(abs(estimate.low - 0.451) < 0.006 && abs(estimate.high - 0.549) < 0.006)
    }

    @Test func noValuesHaveNoEstimate() { #expect(Bootstrap(resamples: 10, seed: 0).estimate([]) == nil) }
}

@Suite struct QuestionReportTests {
    private func record(_ item: Int, _ form: QuestionForm, _ answer: String?, kind: String? = nil) -> AnswerRecord {
        AnswerRecord(
            item: item, id: "\(item)", kind: kind, form: form, prompt: "", expected: ["yes", "yes", "no"],
            outcome: answer.map { .answered($0) } ?? .failed(QuestionFailure(.media, "no file")))
    }

    /// Exact: typed 3 of 3, spoken 1 of 2; in the pairs (items 1 and 2) typed is better in one of two. Accuracy of
    /// "yes" with two of three: (1/3 + 1/3 + 2/3) / 3; of "no" with one of three: (0 + 1/3 + 1/3) / 3.
    @Test func scoresAreOfEachFormAndKindAndTheGapOfPairs() throws {
        let records = [
            record(1, .typed, "yes", kind: "b"), record(1, .spoken, "maybe", kind: "b"), record(2, .typed, "no"),
            record(2, .spoken, "Yes."), record(3, .typed, "yes", kind: "a"), record(3, .spoken, nil, kind: "a"),
        ]
        let report = QuestionReport(records, AnswerNormalizer(.vqa), Bootstrap(resamples: 100, seed: 0))
        let json = JSONValue.object(report.json)
        func mean(_ path: String...) -> [Double?] {
            let object = path.reduce(json) { $0[$1] ?? .null }
            return [object["mean"]?.number, object["count"]?.number]
        }
        #expect(mean("scores", "typed", "exact") == [1, 3])
        #expect(mean("scores", "spoken", "exact") == [0.5, 2])
        #expect(mean("scores", "typed", "kinds", "a", "exact") == [1, 1])
        #expect(mean("scores", "spoken", "kinds", "a", "exact") == [nil, nil])
        #expect(mean("scores", "spoken", "kinds", "b", "exact") == [0, 1])
        #expect(mean("typed_minus_spoken", "exact") == [0.5, 2])
        let accuracy = (4.0 / 9 + 2.0 / 9) / 2 - (0 + 4.0 / 9) / 2
        // Numbers in JSON have six decimals.
        #expect(abs(try #require(mean("typed_minus_spoken", "accuracy")[0]) - accuracy) < 1e-6)
        #expect(json["failed"]?["media"]?.number == 1 && json["answered"]?.number == 5)
        #expect(report.summary.contains("typed - spoken: exact +50.00 points (+0.00 points to +100.00 points) of 2"))
        #expect(report.summary.hasSuffix("without an answer: media 1"))
    }
}
