import CInterruption
import Synchronization

/// A flag that interrupts computations. While the flag is bound to a thread, any thread can raise it: the bound
/// thread's tensor operations then throw within some millions of arithmetic operations.
///
/// Operations check the flag at counted steps, never by time, so a bound flag does not change results. The output of an
/// interrupted operation is undefined.
public final class Interruption: Sendable {
    // Allocated separately, because kernels read the flag by its address.
    nonisolated(unsafe) private let flag: UnsafeMutablePointer<Atomic<Int32>>

    public init() {
        flag = .allocate(capacity: 1)
        flag.initialize(to: Atomic(0))
    }

    deinit {
        flag.deinitialize(count: 1)
        flag.deallocate()
    }

    public var value: Int32 {
        get { flag.pointee.load(ordering: .acquiring) }
        set { flag.pointee.store(newValue, ordering: .releasing) }
    }

    /// Interrupts what is bound to the flag. A signal handler may call this.
    public func raise() { value = Int32(LK_INTERRUPTED) }

    public var isRaised: Bool { value >= Int32(LK_INTERRUPTED) }

    /// Sets the flag to `new` if it is `old`. → whether it was
    public func replace(_ old: Int32, by new: Int32) -> Bool {
        flag.pointee.compareExchange(expected: old, desired: new, ordering: .acquiringAndReleasing).exchanged
    }

    /// Runs `body` with this flag bound to the calling thread.
    public func during<R>(_ body: () throws -> R) rethrows -> R {
        try Interruption.binding(address, body)
    }

    var address: UnsafePointer<Int32> { UnsafePointer(UnsafeRawPointer(flag).assumingMemoryBound(to: Int32.self)) }

    /// Runs `body` with no flag bound to the calling thread, so that nothing interrupts it.
    public static func never<R>(_ body: () throws -> R) rethrows -> R { try binding(nil, body) }

    private static func binding<R>(_ flag: UnsafePointer<Int32>?, _ body: () throws -> R) rethrows -> R {
        let before = lk_bind_interrupt(flag)
        defer { _ = lk_bind_interrupt(before) }
        return try body()
    }

    /// Whether the flag that is bound to the calling thread is raised.
    public static var isRaised: Bool { lk_interrupted() != 0 }

    /// Call this in long loops, and after every kernel: an interrupted kernel leaves its output undefined.
    ///
    /// - Throws: `LyraError.state` if the flag that is bound to the calling thread is raised.
    public static func check() throws {
        if isRaised { throw LyraError(.state, "the work was interrupted: its turn is stopped or cancelled") }
    }
}
