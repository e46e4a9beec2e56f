import CKernels
import LyraBase

/// Throws the error that a kernel's status stands for, or `.state` if the work was interrupted.
/// - Parameter purpose: the operation, for messages: "a matrix product"
/// - Throws: `LyraError.missing` if OpenBLAS is needed and not installed, `.io` if it cannot be opened, `.memory`;
///   `.state` if the work was interrupted.
public func checkKernel(_ status: Int32, _ purpose: @autoclosure () -> String) throws {
    try Interruption.check()
    switch Int(status) {
    case Int(LK_OK): return
    case Int(LK_NO_BLAS):
        throw LyraError(
            .missing,
            "\(purpose()) needs the library libopenblas.so.0, which cannot be loaded; install it (Debian: libopenblas0)"
        )
    case Int(LK_CLOSED_BLAS):
        throw LyraError(
            .io,
            "\(purpose()) needs the library libopenblas.so.0, which the system refuses to open; close other "
                + "files, or check the library's permissions"
        )
    default: throw LyraError(.memory, "no memory for \(purpose())")
    }
}
