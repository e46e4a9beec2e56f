import CKernels
import Foundation
import LyraBase
import Synchronization
import Testing

@testable import LyraTensor

/// The pool runs every task exactly once, also with nested and concurrent calls.
@Suite(.serialized) struct ThreadPoolTests {
    /// Runs `count` tasks. → how often each ran
    private static func run(_ count: Int, nested: Bool = false) -> [Int32] {
        struct Context {
            var counts: UnsafeMutablePointer<Int32>
            var nested: Bool
        }
        var counts = [Int32](repeating: 0, count: count)
        counts.withUnsafeMutableBufferPointer { buffer in
            guard let base = buffer.baseAddress else { return }
            var context = Context(counts: base, nested: nested)
            lk_parallel(
                count,
                { raw, index in
                    guard let context = raw?.assumingMemoryBound(to: Context.self).pointee else { return }
                    context.counts[index] += 1
                    if context.nested { ThreadPoolTests.check(ThreadPoolTests.run(7)) }
                }, &context)
        }
        return counts
    }

    private static func check(_ counts: [Int32]) { #expect(counts.allSatisfy { $0 == 1 }) }

    @Test(arguments: [0, 1, 2, 3, 100, 5000]) func everyTaskRunsOnce(_ count: Int) { Self.check(Self.run(count)) }

    @Test func tasksMayUseThePool() { Self.check(Self.run(50, nested: true)) }

    @Test func thePoolCanChangeItsSizeBetweenCalls() {
        let usual = lk_threads()
        defer { lk_set_threads(usual) }
        for threads in [1, 4, 2, 7, 1, 3] {
            lk_set_threads(Int32(threads))
            #expect(lk_threads() == threads)
            Self.check(Self.run(200))
        }
        lk_set_threads(0)
        #expect(lk_threads() >= 1, "one for each processor")
    }

    @Test func manyThreadsMayCallAtOnce() async {
        await withTaskGroup(of: Void.self) { group in
            for _ in 0..<8 { group.addTask { for _ in 0..<200 { Self.check(Self.run(20)) } } }
        }
    }

    @Test func sharedTensorsAreCopiedBeforeTheyChange() throws {
        let original = try Tensor([2, 2], [1, 2, 3, 4])
        var changed = original
        try changed.withMutableValues { $0[0] = 9 }
        #expect(original.values == [1, 2, 3, 4] && changed.values == [9, 2, 3, 4])
        var view = original.rows(1..<2)
        try view.withMutableValues { $0[0] = 7 }
        #expect(original.values == [1, 2, 3, 4] && view.values == [7, 4])
    }

    @Test func aViewWithoutOtherReferencesChangesInPlace() throws {
        var view = try Tensor([2, 2], [1, 2, 3, 4]).rows(1..<2)
        let before = try view.withValues { UInt(bitPattern: $0) }
        try view.withMutableValues { $0[1] = 8 }
        let after = try view.withValues { UInt(bitPattern: $0) }
        #expect(view.values == [3, 8] && after == before)
        let kept = view
        let turned = try view.rotated(Rotation(cos: Tensor([1, 1], [0]), sin: Tensor([1, 1], [1])), heads: 1)
        #expect(turned.values == [-8, 3])
        #expect(kept.values == [3, 8] && view.values == [3, 8])
    }

    @Test func aFailedAllocationIsAnError() {
        #expect(throws: LyraError.self) { try Tensor(zeros: [1 << 40, 1 << 30]) }
        #expect(throws: LyraError.self) { try Tensor(zeros: [1 << 31, 1 << 29]) }
        #expect(throws: LyraError.self) { try Tensor([-1]) { _ in } }
    }
}
