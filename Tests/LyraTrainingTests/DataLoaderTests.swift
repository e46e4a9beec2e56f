import Foundation
import LyraBase
import Synchronization
import Testing

@testable import LyraTraining

/// Orders of batches, who makes them, and what happens to bad examples.
@Suite(.timeLimit(.minutes(2))) struct DataLoaderTests {
    /// Items whose examples are their own numbers.
    private struct Numbers: ExampleList {
        var files: [ExampleFile]
        var length: @Sendable (Int) -> Int = { $0 * 7919 % 101 }
        var make: @Sendable (Int) throws -> Void = { _ in }
        var place: @Sendable (Int) -> String = { _ in "" }
        let made = Log()

        init(_ count: Int) { files = [ExampleFile(count: count)] }

        func estimatedLength(_ item: Int) -> Int { length(item) }
        func place(of item: Int) -> String { place(item) }

        func example(_ item: Int, epoch: Int) throws -> Int {
            try make(item)
            made.add(item)
            return item
        }
    }

    /// Numbers that several threads add.
    private final class Log: Sendable {
        private let list = Mutex<[Int]>([])
        func add(_ item: Int) { list.withLock { $0.append(item) } }
        var items: [Int] { list.withLock { $0 } }
    }

    private func loader(
        _ list: Numbers, batch: Int = 4, _ change: (inout DataLoaderOptions) -> Void = { _ in }
    ) throws -> DataLoader<Numbers> {
        var options = DataLoaderOptions(batchExamples: batch)
        options.seed = 5
        change(&options)
        return try DataLoader(list, options)
    }

    private func batches(_ loader: DataLoader<Numbers>, _ count: Int) throws -> [[Int]] {
        try (0..<count).map { _ in try loader.next() }
    }

    // MARK: Orders

    @Test func anEpochHasEachItemOnceAndTheNextAnotherOrder() throws {
        let loader = try loader(Numbers(103))
        #expect(loader.batchesPerEpoch == 26)
        let (first, second) = (try batches(loader, 26), try batches(loader, 26))
        #expect(first.joined().sorted() == Array(0..<103) && second.joined().sorted() == Array(0..<103))
        #expect(first != second && first.joined().sorted() != Array(first.joined()))
        #expect(Set(first.map(\.count)) == [4, 3])
        #expect(loader.position == 52)
    }

    @Test func theOrderFollowsFromTheSeedWhateverTheThreads() throws {
        var list = Numbers(90)
        list.make = { usleep(UInt32($0 * 37 % 11 * 50)) }
        let orders = try [0, 1, 4].map { threads in
            try batches(loader(list) { ($0.threads, $0.batchesAhead, $0.windowBatches) = (threads, 7, 5) }, 50)
        }
        #expect(orders[0] == orders[1] && orders[1] == orders[2])
        #expect(orders[0] != (try batches(loader(list) { ($0.seed, $0.windowBatches) = (6, 5) }, 50)))
    }

    @Test func movingContinuesAtTheSameBatchesWithoutMakingThoseBefore() throws {
        let all = try batches(loader(Numbers(60)), 40)
        for position in [0, 7, 15, 31] {
            let list = Numbers(60)
            let moved = try loader(list)
            try moved.move(to: position)
            #expect(try batches(moved, 40 - position) == Array(all[position...]))
            if position == 7 { try moved.move(to: 2) }
            #expect(try position != 7 || batches(moved, 3) == Array(all[2..<5]))
        }
        let list = Numbers(60)
        let moved = try loader(list) { $0.batchesAhead = 0 }
        try moved.move(to: 13)
        #expect(try batches(moved, 2) == Array(all[13...14]))
        #expect(list.made.items.sorted() == all[13...14].joined().sorted())
        #expect(throws: LyraError.self) { try moved.move(to: -1) }
        #expect(throws: LyraError.self) { try moved.move(to: .max) }
    }

    @Test func batchesJoinExamplesOfSimilarLength() throws {
        let list = Numbers(240)
        let epoch = try batches(loader(list), 60)
        let lengths = epoch.map { $0.map(list.length) }
        // One window: in the order of their shortest example, the batches have the sorted lengths.
        let ordered = lengths.sorted { ($0[0], $0[3]) < ($1[0], $1[3]) }
        #expect(Array(ordered.joined()) == (0..<240).map(list.length).sorted())
        #expect(ordered != lengths)
        // Windows of five batches: the same within each 20 examples of the shuffled order.
        let windows = try batches(loader(list) { $0.windowBatches = 5 }, 60)
        for start in stride(from: 0, to: 60, by: 5) {
            let window = windows[start..<start + 5].map { $0.map(list.length) }
            let ordered = window.sorted { ($0[0], $0[3]) < ($1[0], $1[3]) }
            #expect(Array(ordered.joined()) == window.joined().sorted())
        }
    }

    @Test func aLimitOnTokensHoldsForEachBatch() throws {
        var list = Numbers(200)
        list.length = { $0 == 17 ? 500 : $0 * 7919 % 101 + 1 }
        let loader = try loader(list, batch: 8) { ($0.batchTokens, $0.windowBatches) = (220, 10) }
        let epochs = try (0..<2).map { _ in try batches(loader, loader.batchesPerEpoch) }
        for epoch in epochs {
            #expect(epoch.joined().sorted() == Array(0..<200))
            for batch in epoch {
                #expect((1...8).contains(batch.count))
                #expect(batch == [17] || batch.reduce(0) { $0 + list.length($1) } <= 220)
            }
        }
        #expect(Set(epochs[0]) == Set(epochs[1]) && epochs[0] != epochs[1])
    }

    @Test func processesShareTheBatchesOfAnEpoch() throws {
        let list = Numbers(26)
        let all = try batches(loader(list, batch: 2), 26)
        let parts = try (0..<3).map { rank in
            let loader = try loader(list, batch: 2) { ($0.rank, $0.processes) = (rank, 3) }
            #expect(loader.batchesPerEpoch == 5)
            return try batches(loader, 10)
        }
        for epoch in 0..<2 {
            let joined = (0..<15).map { parts[$0 % 3][epoch * 5 + $0 / 3] }
            #expect(joined == Array(all[epoch * 13..<(epoch + 1) * 13]) + [[], []])
        }
    }

    @Test func weightsSayHowOftenAFileIsDrawn() throws {
        var list = Numbers(0)
        list.files = [ExampleFile(count: 10, weight: 2), ExampleFile(count: 9, weight: 0.5), ExampleFile(count: 0)]
        // 20 draws of the first file; 4.5, rounded to 5, of the second.
        let loader = try loader(list)
        #expect(loader.batchesPerEpoch == 7)
        let epochs = try (0..<9).map { _ in try batches(loader, 7).flatMap { $0 } }
        let counts = epochs.map { epoch in (0..<19).map { item in epoch.count { $0 == item } } }
        #expect(counts.allSatisfy { $0[..<10] == Array(repeating: 2, count: 10)[...] && $0[10...].reduce(0, +) == 5 })
        // 45 draws of nine items: five of each.
        #expect((10..<19).allSatisfy { item in counts.reduce(0) { $0 + $1[item] } == 5 })
        list.files = [ExampleFile(count: 10, weight: .nan)]
        #expect(throws: LyraError.self) { try self.loader(list) }
        #expect(throws: LyraError.self) { try self.loader(Numbers(0)) }
    }

    @Test func aValidationSetComesInOrder() throws {
        var list = Numbers(10)
        list.length = { _ in
            Issue.record("a length was estimated")
            return 0
        }
        let loader = try loader(list) { ($0.shuffles, $0.batchesAhead) = (false, 5) }
        let wanted = [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
        #expect(try batches(loader, 3) == wanted)
        #expect(list.made.items.sorted() == Array(0..<10), "a second pass was begun ahead of time")
        #expect(try batches(loader, 3) == wanted)
    }

    @Test func optionsOutOfRangeAreErrors() throws {
        let changes: [(inout DataLoaderOptions) -> Void] = [
            { $0.batchExamples = 0 }, { $0.batchTokens = 0 }, { $0.windowBatches = 0 }, { $0.processes = 0 },
            { $0.rank = 1 }, { $0.threads = -1 }, { $0.batchesAhead = .max }, { $0.badShare = .nan },
        ]
        for change in changes { #expect(throws: LyraError.self) { try loader(Numbers(4), change) } }
    }

    // MARK: Bad examples

    private func numbers(_ count: Int, bad: Set<Int>) -> Numbers {
        var list = Numbers(count)
        list.make = { if bad.contains($0) { throw LyraError(.io, "file of item \($0)") } }
        return list
    }

    @Test func badExamplesAreLeftOutAndCounted() throws {
        let loader = try loader(numbers(200, bad: [12, 150])) { $0.threads = 3 }
        let epoch = try batches(loader, 50)
        #expect(epoch.joined().sorted() == (0..<200).filter { $0 != 12 && $0 != 150 })
        #expect(loader.skipped.count == 2 && loader.skipped.seen == 200)
        #expect(Set(loader.skipped.reasons) == ["file of item 12", "file of item 150"])
    }

    /// The places of items differ; their reasons need not.
    @Test func equalReasonsAreOneWithTheirNumber() throws {
        var list = Numbers(8)
        list.place = { "data, item \($0)" }
        list.make = { throw LyraError(.format, "data, item \($0): " + ($0 % 4 == 1 ? "no answer" : "no speech")) }
        let loader = try loader(list) { ($0.shuffles, $0.badShare) = (false, 0) }
        #expect(try batches(loader, 2) == [[], []])
        #expect(loader.skipped.reasons == ["data, item 0 and 5 more: no speech", "data, item 1 and 1 more: no answer"])
        let error = #expect(throws: LyraError.self) { try loader.checkShare(bad: 8, of: 8, endsEpoch: true) }
        #expect(error?.message.hasSuffix("0 and 5 more: no speech; data, item 1 and 1 more: no answer") == true)
    }

    @Test func moreThanAHundredthStopsTheRunWithTheReasons() throws {
        // 3 of 200: at the end of the epoch.
        func check(_ loader: DataLoader<Numbers>, _ batches: Int) throws {
            _ = try self.batches(loader, batches)
            let skipped = loader.skipped
            try loader.checkShare(
                bad: skipped.count, of: skipped.seen, endsEpoch: loader.position % loader.batchesPerEpoch == 0)
        }
        let small = try loader(numbers(200, bad: [12, 100, 150]))
        try check(small, 49)
        let error = #expect(throws: LyraError.self) { try check(small, 1) }
        for item in [12, 100, 150] { #expect(error?.message.contains("file of item \(item)") ?? false) }
        #expect(error?.message.contains("3 of 200") ?? false)
        // All bad: once they are more than a hundredth of a thousand.
        let large = try loader(numbers(5000, bad: Set(0..<5000)))
        try check(large, 2)
        #expect(throws: LyraError.self) { try check(large, 1) }
        #expect(large.skipped.seen == 12 && large.skipped.count == 12)
        // Two bad items of few are too few to judge in the first epoch, and enough in the second.
        let few = try loader(numbers(8, bad: [1, 2]))
        try check(few, 3)
        #expect(throws: LyraError.self) { try check(few, 1) }
        let lenient = try loader(numbers(8, bad: [1, 2])) { $0.badShare = 0.25 }
        for _ in 0..<10 { try check(lenient, 2) }
    }

    @Test func aBatchThatIsTakenAgainIsNotCountedAgain() throws {
        let loader = try loader(numbers(40, bad: [3, 30])) { $0.shuffles = false }
        let first = try batches(loader, 10)
        try loader.move(to: 2)
        #expect(try batches(loader, 8) == Array(first[2...]))
        #expect(loader.skipped.count == 2 && loader.skipped.seen == 40)
    }

    /// 3 of 1000 are bad, all among the last hundred, which are left when the run is resumed.
    @Test func aResumedRunIsJudgedByAllItsExamples() throws {
        let loader = try loader(numbers(1000, bad: [910, 950, 999])) { $0.shuffles = false }
        try loader.move(to: 225)
        #expect(try batches(loader, 25).joined().count == 97)
        #expect(loader.skipped.count == 3 && loader.skipped.seen == 100 && loader.skipped.passed == 900)
        try loader.checkShare(bad: 3, of: 1000, endsEpoch: true)
    }

    @Test func otherLengthsAreNoticed() throws {
        var other = Numbers(30)
        other.length = { $0 == 17 ? 1 : $0 * 7919 % 101 }
        let loaders = try [loader(Numbers(30)), loader(Numbers(30)), loader(other)]
        #expect(loaders[0].lengthsFingerprint == loaders[1].lengthsFingerprint)
        #expect(loaders[0].lengthsFingerprint != loaders[2].lengthsFingerprint)
        #expect(try loader(Numbers(30), batch: 1).lengthsFingerprint.isEmpty)
    }

    // MARK: Interruption

    @Test func anInterruptedCallKeepsItsBatch() throws {
        let interruption = Interruption()
        interruption.cancel()
        for threads in [0, 2] {
            let wanted = try batches(loader(Numbers(20)), 2)
            let loader = try loader(Numbers(20)) { $0.threads = threads }
            let error = #expect(throws: LyraError.self) { try interruption.during { try loader.next() } }
            #expect(error?.code == .state && loader.position == 0)
            #expect(try batches(loader, 2) == wanted)
        }
    }

    @Test func aLoaderThatIsReleasedEndsItsThreads() throws {
        let begun = Log(), ended = Log()
        var list = Numbers(20)
        // As a decoder of a long file: works until it is interrupted.
        list.make = { item in
            begun.add(item)
            defer { ended.add(item) }
            while true { try Interruption.check() }
        }
        let interruption = Interruption()
        var loader: DataLoader? = try loader(list) { $0.threads = 2 }
        let waiting = Thread {
            while begun.items.isEmpty { usleep(1000) }
            interruption.cancel()
        }
        waiting.start()
        #expect(throws: LyraError.self) { try interruption.during { try loader?.next() } }
        #expect(ended.items.isEmpty)
        loader = nil
        #expect(Set(ended.items) == Set(begun.items) && !ended.items.isEmpty)
    }
}
