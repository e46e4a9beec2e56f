import CKernels
import LyraBase

/// Throws the error that a kernel's status stands for, or `.state` if the work was interrupted.
/// - Parameter purpose: the operation, for messages: "a matrix product"
/// - Throws: `LyraError.io` if OpenBLAS is needed and the system refuses to open it, `.memory`; `.state` if the work was
///   interrupted.
public func checkKernel(_ status: Int32, _ purpose: @autoclosure () -> String) throws {
    try Interruption.check()
    switch Int(status) {
    case Int(LK_OK): return
    case Int(LK_CLOSED_BLAS):
        throw LyraError(
            .io,
            "\(purpose()) needs the library libopenblas.so.0, which the system refuses to open; close other "
                + "files, or check the library's permissions"
        )
    default: throw LyraError(.memory, "no memory for \(purpose())")
    }
}
