import CFFmpeg
import CLoading
import CMpg123
import CSndfile
import CTIFF
import LyraBase

/// The libraries that decode media. They are loaded when a file first needs them, and then stay: lyra runs without them
/// on samples and pixels.
enum MediaLibrary {
    case ffmpeg, sndfile, mpg123, tiff

    /// Makes the library's functions usable; at once if they are. From any thread.
    ///
    /// To be called where a file is opened: without it the functions return errors.
    /// - Parameter name: Of the file, for the message.
    /// - Throws: `LyraError(.missing)`, with the package's name, if the library is not installed or is of another
    ///   version than lyra was built for; `.io` if the system refuses to open it; `.memory` if there is no memory to
    ///   load it.
    func require(for name: String) throws {
        var status = Int32(LYRA_LOADED)
        let reason = withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1024) { buffer in
            buffer.initialize(repeating: 0)
            status =
                switch self {
                case .ffmpeg: lyra_ffmpeg_load(buffer.baseAddress, buffer.count)
                case .sndfile: lyra_sndfile_load(buffer.baseAddress, buffer.count)
                case .mpg123: lyra_mpg123_load(buffer.baseAddress, buffer.count)
                case .tiff: lyra_tiff_load(buffer.baseAddress, buffer.count)
                }
            guard status != LYRA_LOADED, let text = buffer.baseAddress else { return "" }
            return String(cString: text)
        }
        guard status != LYRA_LOADED else { return }
        throw LyraError(code(status), "\(name): \(reason)")
    }
    private func code(_ status: Int32) -> LyraError.Code {
        switch Int(status) {
        case LYRA_LOAD_MEMORY: .memory
        case LYRA_LOAD_IO: .io
        default: .missing
        }
    }
}
