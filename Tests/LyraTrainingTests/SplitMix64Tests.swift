import LyraBase
import Testing

@Suite struct SplitMix64Tests {
    /// The first numbers of the reference implementation (prng.di.unimi.it/splitmix64.c) for the seed 1234567.
    @Test func numbersAreThoseOfTheReference() {
        var random = SplitMix64(seed: 1_234_567)
        let want: [UInt64] = [
            6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423,
            4_593_380_528_125_082_431, 16_408_922_859_458_223_821,
        ]
        #expect((0..<5).map { _ in random.next() } == want)
    }

    @Test func aSavedStateContinues() {
        var random = SplitMix64(seed: 5)
        for _ in 0..<10 { _ = random.nextNormal() }
        var continued = SplitMix64(seed: random.state)
        for _ in 0..<10 { #expect(continued.nextNormal() == random.nextNormal()) }
    }

    /// Of 100,000 numbers the mean deviates by 1/√100000 = 0.003 of the deviation; four times that is allowed.
    @Test func momentsAreThoseOfTheDistributions() {
        var random = SplitMix64(seed: 7)
        let count = 100_000.0
        let normal = (0..<100_000).map { _ in random.nextNormal() }
        #expect(abs(normal.reduce(0, +) / count) < 0.013)
        // The deviation of a square is √2, of a fourth power √96.
        #expect(abs(normal.reduce(0) { $0 + $1 * $1 } / count - 1) < 0.018)
        #expect(abs(normal.reduce(0) { $0 + $1 * $1 * $1 * $1 } / count - 3) < 0.125)
        let uniform = (0..<100_000).map { _ in random.nextUnit() }
        #expect(uniform.allSatisfy { (0..<1).contains($0) })
        #expect(abs(uniform.reduce(0, +) / count - 0.5) < 0.004)
    }

    @Test func boundedNumbersAreEvenlyDistributed() {
        var random = SplitMix64(seed: 9)
        var counts = [0, 0, 0]
        for _ in 0..<30_000 { counts[Int(random.next(below: 3))] += 1 }
        // A count deviates by √(30000 · ⅓ · ⅔) = 82.
        #expect(counts.allSatisfy { abs($0 - 10_000) < 330 })
        #expect(random.next(below: 1) == 0 && random.next(below: 0) == 0)
        for _ in 0..<100 { #expect(random.next(below: .max) < .max) }
    }

    @Test func everyOrderIsEquallyLikely() {
        var random = SplitMix64(seed: 11)
        var counts: [[Int]: Int] = [:]
        for _ in 0..<24_000 {
            var items = [1, 2, 3, 4]
            random.shuffle(&items)
            counts[items, default: 0] += 1
        }
        // 1000 each, with a deviation of 31.
        #expect(counts.count == 24 && counts.values.allSatisfy { abs($0 - 1000) < 140 })
        var (none, one) = ([Int](), [5])
        random.shuffle(&none)
        random.shuffle(&one)
        #expect(none.isEmpty && one == [5])
    }
}
