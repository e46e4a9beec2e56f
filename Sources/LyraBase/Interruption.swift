import CInterruption
import Synchronization

/// A word that ends work early: while it is bound to a thread, what the thread computes with tensors stops within some
/// millions of operations of the moment at which any thread raises it, and throws.
///
/// Work is cut by counted operations, never by a clock, so that results are the same whether a word is bound or not.
/// What an interrupted operation had written is lost with the error that it throws.
public final class Interruption: Sendable {
    /// A word of this value or more interrupts.
    public static let raised = LK_INTERRUPTED

    // In memory of its own, because kernels look at it by its address.
    nonisolated(unsafe) private let word: UnsafeMutablePointer<Atomic<Int32>>

    public init() {
        word = .allocate(capacity: 1)
        word.initialize(to: Atomic(0))
    }

    deinit {
        word.deinitialize(count: 1)
        word.deallocate()
    }

    public var value: Int32 {
        get { word.pointee.load(ordering: .acquiring) }
        set { word.pointee.store(newValue, ordering: .releasing) }
    }

    /// Makes the word `new` if it is `old`. → whether it was
    public func replace(_ old: Int32, by new: Int32) -> Bool {
        word.pointee.compareExchange(expected: old, desired: new, ordering: .acquiringAndReleasing).exchanged
    }

    /// Runs `body` with this word bound to the calling thread.
    public func during<R>(_ body: () throws -> R) rethrows -> R {
        try Interruption.binding(address, body)
    }

    var address: UnsafePointer<Int32> { UnsafePointer(UnsafeRawPointer(word).assumingMemoryBound(to: Int32.self)) }

    /// Runs `body` with no word bound to the calling thread: work that belongs to nothing that is being interrupted.
    public static func never<R>(_ body: () throws -> R) rethrows -> R { try binding(nil, body) }

    private static func binding<R>(_ word: UnsafePointer<Int32>?, _ body: () throws -> R) rethrows -> R {
        let before = lk_bind_interrupt(word)
        defer { _ = lk_bind_interrupt(before) }
        return try body()
    }

    /// Whether the word that is bound to the calling thread is raised.
    public static var isRaised: Bool { lk_interrupted() != 0 }

    /// - Throws: `LyraError.state` if the word that is bound to the calling thread is raised. To be called in long
    ///   loops, and after every kernel: what that wrote may be anything then.
    public static func check() throws {
        if isRaised { throw LyraError(.state, "the work was interrupted: its turn is stopped or cancelled") }
    }
}
