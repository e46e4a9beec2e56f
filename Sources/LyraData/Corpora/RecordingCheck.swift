import LyraBase
import LyraFormats
import LyraMedia

/// How thoroughly recordings are checked before they enter training data.
package enum RecordingCheck: String, Sendable, CaseIterable {
    /// The file exists.
    case exists
    /// Its header is that of a recording.
    case open
    /// It can be decoded to its end.
    case decode

    /// Checks a recording. → its length in seconds; nil if the check does not tell
    ///
    /// - Parameter check: called at times while the recording is decoded; throws to stop
    /// - Throws: `LyraError` that names the file and says what is wrong with it.
    package func seconds(of path: String, check: () throws -> Void) throws -> Double? {
        guard try FileSystem.isFile(path) else { throw LyraError(.missing, "\(path): no such file") }
        guard self != .exists else { return nil }
        let source = try AudioDecoder.open(path: path)
        guard self == .decode else {
            guard case .exact(let samples)? = source.length else { return nil }
            guard samples > 0 else { throw LyraError(.format, "\(path): it has no samples") }
            return Double(samples) / Double(source.sampleRate)
        }
        var buffer = [Float](repeating: 0, count: 1 << 15), samples = 0
        while !source.isAtEnd {
            try check()
            samples += try buffer.withUnsafeMutableBufferPointer { try source.read(into: $0) }
        }
        guard samples > 0 else { throw LyraError(.format, "\(path): it has no samples") }
        return Double(samples) / Double(source.sampleRate)
    }
}
