import CCallers
import Lyra

/// The thread that called an exported function. Where it has little stack, the work is done on a thread of lyra's own,
/// and the caller waits; the caller's callbacks are still called on the caller's thread.
enum CallingThread {
    /// Runs `body` where there is stack for it, and returns when it has.
    /// - Throws: what `body` throws, and `LyraError.memory` if it needs a thread that cannot be made.
    static func work<R>(_ body: () throws -> R) throws -> R {
        var result: Result<R, any Error>?
        _ = pass({ result = Result { try body() } }, to: lyra_with_stack)
        guard let result else {
            throw LyraError(
                .memory,
                "the calling thread has too little stack for the work (256 KiB suffice), and no other thread can be "
                    + "started for it")
        }
        return try result.get()
    }

    /// Runs `body`, which calls a host's function, on the thread that called lyra.
    static func call<R>(_ body: () -> R) -> R {
        var result: R?
        _ = pass({ result = body() }) { function, context in
            lyra_on_caller(function, context)
            return 0
        }
        guard let result else { return body() }
        return result
    }

    /// Hands a closure to a C function that takes a function and its context, and calls it before it returns.
    private static func pass(
        _ body: () -> Void,
        to run: (@convention(c) (UnsafeMutableRawPointer?) -> Void, UnsafeMutableRawPointer?) -> Int32
    ) -> Int32 {
        withoutActuallyEscaping(body) { body in
            var body = body
            return withUnsafeMutablePointer(to: &body) { pointer in
                run({ $0?.assumingMemoryBound(to: (() -> Void).self).pointee() }, pointer)
            }
        }
    }
}
