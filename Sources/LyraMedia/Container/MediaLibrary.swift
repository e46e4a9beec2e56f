import CFFmpeg
import CLoading
import CMpg123
import CSndfile
import CTIFF
import LyraBase

/// The libraries that decode media. Each is loaded when a file first needs it. Without them lyra takes samples and
/// pixels only.
enum MediaLibrary {
    case ffmpeg, sndfile, mpg123, tiff

    /// Loads the library if it is not loaded. Thread-safe. Call it before opening a file: until then the library's
    /// functions return errors.
    ///
    /// - Parameter name: The file, for the message.
    /// - Throws: `LyraError(.missing)`, with the package's name, if the library is not installed or has another
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
