import CLyra
import Glibc
import Lyra

/// The message of this thread's most recent failure.
enum LastError {
    private static let key: pthread_key_t? = {
        var key = pthread_key_t()
        return pthread_key_create(&key, { free($0) }) == 0 ? key : nil
    }()

    nonisolated(unsafe) private static let empty: UnsafePointer<CChar> = {
        let buffer = UnsafeMutablePointer<CChar>.allocate(capacity: 1)
        buffer.pointee = 0
        return UnsafePointer(buffer)
    }()

    static var message: UnsafePointer<CChar> {
        guard let key, let value = pthread_getspecific(key) else { return empty }
        return UnsafePointer(value.assumingMemoryBound(to: CChar.self))
    }

    static func set(_ message: String) {
        guard let key else { return }
        // A message may quote bytes of a file; a zero byte would truncate it.
        let copy = message.utf8.contains(0) ? strdup(message.split(separator: "\0").joined()) : strdup(message)
        let old = pthread_getspecific(key)
        if pthread_setspecific(key, copy) == 0 { free(old) } else { free(copy) }
    }
}

/// Runs the body of an exported function and converts an error to a status and a message. The body runs on the calling
/// thread, which may have little stack; `CallingThread.work` provides more.
func status(_ body: () throws -> Void) -> lyra_status {
    do {
        try body()
        return lyra_status(LYRA_OK)
    } catch let error as LyraError {
        LastError.set(error.message)
        return error.code.rawValue
    } catch {
        LastError.set("\(error)")
        return lyra_status(LYRA_E_FORMAT)
    }
}

/// Unwraps a pointer argument that must not be null.
func required<T>(_ pointer: T?, _ name: String) throws -> T {
    guard let pointer else { throw LyraError(.argument, "\(name) is null") }
    return pointer
}

/// A caller's string; nil for null.
///
/// - Throws: `LyraError.argument` if it is not UTF-8; `.memory`
func text(_ pointer: UnsafePointer<CChar>?, _ name: String) throws -> String? {
    guard let pointer else { return nil }
    try requireMemory(2 * strlen(pointer))
    guard let string = String(validatingCString: pointer) else { throw LyraError(.argument, "\(name) is not UTF-8") }
    return string
}
