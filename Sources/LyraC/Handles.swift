import CLyra
import Lyra
import Synchronization

/// The objects behind the handles that C programs hold.
///
/// A handle is a number that is never reused, not an address. A closed handle is therefore always recognized, and
/// closing it twice is an error instead of a crash.
final class HandleTable<Object: AnyObject & Sendable>: Sendable {
    private struct State {
        var next: UInt
        var objects: [UInt: Object] = [:]
    }

    private let name: String
    private let state: Mutex<State>

    /// - Parameters:
    ///   - name: kind of handle, for messages
    ///   - tag: 0 or 1; tables with different tags have different handles
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
        // The object is released after the lock, because its deinitialization can take a while.
        let removed = state.withLock { $0.objects.removeValue(forKey: UInt(bitPattern: handle)) }
        if removed == nil { throw closed }
    }

    private var closed: LyraError { LyraError(.closed, "this \(name) was closed or never opened") }
}

let models = HandleTable<Model>("model", tag: 0)
let sessions = HandleTable<SessionBox>("session", tag: 1)

/// A session, with a flag for a thread that is using it.
final class SessionBox: @unchecked Sendable {
    let control: TurnControl
    private let session: Session
    private let isBusy = Atomic<Bool>(false)

    init(_ session: Session) {
        self.session = session
        control = session.control
    }

    /// - Throws: `LyraError.state` if another call is using the session, and any error of `body`.
    func use<R>(_ body: (Session) throws -> R) throws -> R {
        try enter()
        defer { leave() }
        return try body(session)
    }

    /// The same for several sessions at once.
    ///
    /// - Throws: also `LyraError.argument` for the same session twice.
    static func use<R>(_ boxes: [SessionBox], _ body: ([Session]) throws -> R) throws -> R {
        guard Set(boxes.map { ObjectIdentifier($0) }).count == boxes.count else {
            throw LyraError(.argument, "a session is named twice; name each once")
        }
        var entered: [SessionBox] = []
        defer { for box in entered { box.leave() } }
        for box in boxes {
            try box.enter()
            entered.append(box)
        }
        return try body(boxes.map(\.session))
    }

    private func enter() throws {
        guard isBusy.compareExchange(expected: false, desired: true, ordering: .acquiring).exchanged else {
            throw LyraError(.state, "the session is in use by another thread, or by the call that runs this callback")
        }
    }

    private func leave() { isBusy.store(false, ordering: .releasing) }
}

/// Runs `body` on the session of a handle, on a thread with enough stack.
func with(_ handle: OpaquePointer?, _ body: (Session) throws -> Void) -> lyra_status {
    status { try CallingThread.work { try sessions.object(handle).use(body) } }
}

/// Runs `body`, which needs little stack, on the session of a handle, on the calling thread.
func withSmallStack(_ handle: OpaquePointer?, _ body: (Session) throws -> Void) -> lyra_status {
    status { try sessions.object(handle).use(body) }
}

/// Uses a session with a caller's reader. The reader is adopted first, so that its close function is called even if the
/// handle is invalid.
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
