import CLyra
import Lyra
import Synchronization

/// Objects behind the pointers that C holds.
///
/// A handle is a number that is never used twice, not an address: one that was closed is recognised, however late it
/// comes back, and closing twice is an error instead of a crash.
final class HandleTable<Object: AnyObject & Sendable>: Sendable {
    private struct State {
        var next: UInt
        var objects: [UInt: Object] = [:]
    }

    private let name: String
    private let state: Mutex<State>

    /// - Parameters:
    ///   - name: of the handle, for messages
    ///   - tag: 0 or 1; handles of tables with different tags differ
    init(_ name: String, tag: UInt) {
        self.name = name
        state = Mutex(State(next: 0x1000 + tag))
    }

    func insert(_ object: Object) throws -> OpaquePointer {
        try state.withLock { state in
            guard let handle = OpaquePointer(bitPattern: state.next) else {
                throw LyraError(.memory, "no handles are left")
            }
            state.objects[state.next] = object
            state.next += 2
            return handle
        }
    }

    /// - Throws: `LyraError.argument` for null, `LyraError.closed` for a handle that is not open.
    func object(_ handle: OpaquePointer?) throws -> Object {
        let handle = try required(handle, name)
        guard let object = state.withLock({ $0.objects[UInt(bitPattern: handle)] }) else { throw closed }
        return object
    }

    func remove(_ handle: OpaquePointer) throws {
        // The object goes when the lock is no longer held: its end can take a while.
        let removed = state.withLock { $0.objects.removeValue(forKey: UInt(bitPattern: handle)) }
        if removed == nil { throw closed }
    }

    private var closed: LyraError { LyraError(.closed, "this \(name) was closed, or never was one") }
}

let models = HandleTable<Model>("model", tag: 0)
let sessions = HandleTable<SessionBox>("session", tag: 1)

/// A session and the mark that a thread is inside of it.
final class SessionBox: @unchecked Sendable {
    let control: TurnControl
    private let session: Session
    private let isBusy = Atomic<Bool>(false)

    init(_ session: Session) {
        self.session = session
        control = session.control
    }

    /// - Throws: `LyraError.state` if another call is inside the session, and what `body` throws.
    func use<R>(_ body: (Session) throws -> R) throws -> R {
        guard isBusy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            throw LyraError(.state, "the session is in use: a call from another thread or a callback is inside of it")
        }
        defer { isBusy.store(false, ordering: .releasing) }
        return try body(session)
    }
}

/// Runs `body` on the session behind a handle, where there is stack for it.
func with(_ handle: OpaquePointer?, _ body: (Session) throws -> Void) -> lyra_status {
    status { try CallingThread.work { try sessions.object(handle).use(body) } }
}

/// Runs `body`, which takes little stack, on the session behind a handle.
func withShortly(_ handle: OpaquePointer?, _ body: (Session) throws -> Void) -> lyra_status {
    status { try sessions.object(handle).use(body) }
}

/// Works on a session with a caller's reader, which is adopted first: also where the session turns out not to be one,
/// its close function is called.
func withReader(
    _ handle: OpaquePointer?, _ reader: UnsafePointer<lyra_reader>?, _ body: (Session, CallerReader) throws -> Void
) -> lyra_status {
    status {
        try CallingThread.work {
            let reader = try CallerReader.adopt(lyra_reader(from: required(reader, "reader")))
            try sessions.object(handle).use { try body($0, reader) }
        }
    }
}
