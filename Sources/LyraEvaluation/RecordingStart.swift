import LyraBase
import LyraMedia

/// The start of a recording, at a model's sample rate.
///
/// It ends one sample before the given length, so that a whole window of speech does not draw an empty one after it:
/// the reference's evaluation encodes one window of 30 s, however long the recording is.
package final class RecordingStart: SampleSource {
    package let name: String
    private let stream: MonoAudioStream
    /// Number of samples that may still be read.
    private var rest: Int

    /// - Parameters:
    ///   - seconds: above 0
    ///   - sampleRate: of the result, in Hz
    /// - Throws: `LyraError` if the file cannot be opened.
    package init(path: String, seconds: Double, sampleRate: Int) throws {
        name = path
        stream = try MonoAudioStream(AudioDecoder.open(path: path), sampleRate: sampleRate)
        rest = max(Int(min(seconds * Double(sampleRate), 1e15)) - 1, 1)
    }

    package var sampleRate: Int { stream.sampleRate }
    package var isAtEnd: Bool { rest == 0 || stream.isAtEnd }

    package func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        let count = try stream.read(
            into: UnsafeMutableBufferPointer(rebasing: buffer[..<min(buffer.count, rest)]))
        rest -= count
        return count
    }
}
