import Foundation
import Synchronization
import TestSupport
import Testing

@testable import Lyra

/// Sessions of one model on several threads.
@Suite struct ThreadTests {
    /// Hands a session to another thread; one thread uses it at a time.
    private struct Handed: @unchecked Sendable { let session: Session }

    @Test func sessionsOnSeveralThreadsAnswerAsOnOne() throws {
        let golden = Golden.a
        let pcm = try golden.shortRecording
        @Sendable func session() throws -> Session { try golden.session { $0.speaks = true } }
        let wanted = try session().ask("What is said?", hearing: pcm)
        let others = Mutex<[Outcome]>([])
        let disturbed = Handed(session: try session())
        let isDone = Atomic<Bool>(false)
        DispatchQueue.concurrentPerform(iterations: 4) { index in
            if index == 3 {
                // Keeps ending the turns of the third session.
                while !isDone.load(ordering: .relaxed) {
                    usleep(5000)
                    Bool.random() ? disturbed.session.control.cancel() : disturbed.session.control.stop()
                }
            } else if index == 2 {
                for _ in 0..<10 {
                    do { _ = try disturbed.session.ask("What is said?", hearing: pcm) } catch {
                        // The turn was cancelled while it was fed.
                        #expect((error as? LyraError)?.code == .state)
                    }
                }
                isDone.store(true, ordering: .relaxed)
            } else {
                for _ in 0..<3 {
                    let outcome = Result { try session().ask("What is said?", hearing: pcm) }
                    if case .success(let outcome) = outcome { others.withLock { $0.append(outcome) } }
                }
            }
        }
        let outcomes = others.withLock { $0 }
        #expect(outcomes.count == 6)
        for outcome in outcomes { #expect(outcome == wanted) }
        // The disturbed session still works.
        #expect(try session().ask("What is said?", hearing: pcm).tokens == wanted.tokens)
    }
}
