import LyraTensor

/// The one way to open a file with sound, whatever its format: libmpg123 reads MP3, libsndfile what it can,
/// FFmpeg's libraries all else.
public enum AudioDecoder {
    /// Opens the sound of a file: WAV, FLAC, OGG, MP3, M4A, AAC, MP4, MOV, WebM, … or of a video.
    /// - Throws: `LyraError(.io)` if it cannot be read, `.format` if it is not audio, `.missing` if it is a video without
    ///   sound, `.memory` if a limit forbids it, `.state` if interrupted.
    public static func open(
        path: String, limits: MediaLimits = MediaLimits(), interrupted: @escaping () -> Bool = { false }
    ) throws -> any SampleSource {
        try open(reader: FileByteReader(path: path), name: path, limits: limits, interrupted: interrupted)
    }

    /// Opens the sound of an encoded file that lies in memory.
    public static func open(
        bytes: [UInt8], name: String = "audio in memory", limits: MediaLimits = MediaLimits(),
        interrupted: @escaping () -> Bool = { false }
    ) throws -> any SampleSource {
        try open(reader: MemoryByteReader(bytes: bytes), name: name, limits: limits, interrupted: interrupted)
    }

    /// Opens the sound of an encoded file behind a caller's reader, which is kept as long as the decoder is.
    public static func open(
        reader: any ByteReader, name: String, limits: MediaLimits = MediaLimits(),
        interrupted: @escaping () -> Bool = { false }
    ) throws -> any SampleSource {
        let attempts: [() throws -> any SampleSource] = [
            { try MP3Decoder(reader: reader, name: name) },
            { try AudioFileDecoder(reader: reader, name: name) },
            { try MediaAudioDecoder(reader: reader, name: name, limits: limits, interrupted: interrupted) },
        ]
        var reasons: [String] = []
        for attempt in attempts {
            do {
                return try attempt()
            } catch let error as LyraError where error.code == .format {
                // Each begins with the name.
                let reason = String(error.message.dropFirst(name.count + 2))
                if !reasons.contains(reason) { reasons.append(reason) }
            }
        }
        throw LyraError(.format, "\(name): not audio that lyra can decode (\(reasons.joined(separator: "; ")))")
    }
}
