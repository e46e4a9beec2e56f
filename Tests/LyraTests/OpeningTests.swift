import CKernels
import TestSupport
import Testing

@testable import Lyra

/// How many threads a model is opened with.
@Suite struct OpeningTests {
    @Test func aModelIsOpenedWithTheRequestedThreads() throws {
        defer { lk_set_threads(0) }
        lk_set_threads(2)
        var options = ModelOptions()
        options.threads = 3
        var seen: Set<Int32> = []
        options.progress = { _, _ in seen.insert(lk_threads()) }
        _ = try Model(path: Golden.path("b") + "/lyra", options: options)
        #expect(seen == [3] && lk_threads() == 3)
    }

    @Test func anOpeningThatFailsLeavesTheThreadsAsTheyWere() throws {
        defer { lk_set_threads(0) }
        lk_set_threads(2)
        var options = ModelOptions()
        options.threads = 3
        options.progress = { _, _ in throw LyraError(.state, "interrupted") }
        #expect(throws: LyraError(.state, "interrupted")) {
            _ = try Model(path: Golden.path("b") + "/lyra", options: options)
        }
        #expect(lk_threads() == 2)
    }
}
