import CCallers
import Lyra

/// The thread that called an exported function. If it has too little stack, the work runs on a thread of lyra's own
/// while the caller waits; callbacks still run on the caller's thread.
enum CallingThread {
    /// Runs `body` on a thread with enough stack and waits for it.
    ///
    /// - Throws: any error of `body`, and `LyraError.memory` if a needed thread cannot be created.
    static func work<R>(_ body: () throws -> R) throws -> R {
        var result: Result<R, any Error>?
        _ = pass({ result = Result { try body() } }, to: lyra_with_stack)
        guard let result else {
            throw LyraError(
                .memory,
                "the calling thread has too little stack, and no other thread can be started; call from a thread with "
                    + "256 KiB of stack")
        }
        return try result.get()
    }

    /// Runs `body`, which calls a callback, on the thread that called lyra.
    static func call<R>(_ body: () -> R) -> R {
        var result: R?
        _ = pass({ result = body() }) { function, context in
            lyra_on_caller(function, context)
            return 0
        }
        guard let result else { return body() }
        return result
    }

    /// Passes a closure to a C function that takes a function pointer with a context, and calls it before it returns.
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
