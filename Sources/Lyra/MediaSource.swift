import LyraBase
import LyraMedia

/// Source of the data of a medium of any kind.
///
///     try session.feed(.speech(.file("question.wav")))
///     try session.feed(.image(.bytes(png)))
///     try session.feed(.video(.frames(frames)))
///     try session.feed(.sound(.samples(floats, sampleRate: 48_000)))
public struct MediaSource {
    enum Content {
        case file(String)
        /// `place` follows the kind in error messages, as in "audio in memory".
        case reader(any ByteReader, place: String)
        /// A piece of a recording of speech, or an entire sound.
        case pcm(PCMQueue)
        case recording(any SampleSource)
        case frames([RGBImage])
    }

    let content: Content

    /// A file, which must stay in place until the turn ends; an image is decoded at once.
    ///
    /// Speech and sound: WAV, FLAC, Ogg, MP3, AAC, MP4, … Images: JPEG, PNG, WebP, GIF, BMP, TIFF. Videos: MP4, MOV,
    /// WebM, MKV, AVI, …
    public static func file(_ path: String) -> MediaSource { MediaSource(content: .file(path)) }

    /// The bytes of a file, read from `reader` until the turn ends; an image is read at once.
    public static func reader(_ reader: any ByteReader) -> MediaSource {
        MediaSource(content: .reader(reader, place: "from a reader"))
    }

    /// The bytes of a file, which are copied.
    ///
    /// - Throws: `LyraError.memory` if there is no room for the copy.
    public static func bytes(_ bytes: [UInt8]) throws -> MediaSource {
        try bytes.withUnsafeBytes { try .bytes(copying: $0) }
    }

    /// The same for memory other than an array.
    public static func bytes(copying bytes: UnsafeRawBufferPointer) throws -> MediaSource {
        MediaSource(content: .reader(try MemoryReader(copying: bytes), place: "in memory"))
    }

    /// Interleaved samples in -1…1, which are copied. Consecutive feeds of speech samples continue one recording until
    /// `endRecording` or another feed. For sound, every feed is a separate sound.
    ///
    /// - Throws: `LyraError.argument` for a rate or channel count out of range, samples that are not a multiple of the
    ///   channels, or a sample that is not finite; `LyraError.memory` if there is no room for the copy.
    public static func samples(_ samples: [Float], channels: Int = 1, sampleRate: Int) throws -> MediaSource {
        try samples.withUnsafeBufferPointer { try .samples(copying: $0, channels: channels, sampleRate: sampleRate) }
    }

    /// The same for memory other than an array.
    public static func samples(
        copying samples: UnsafeBufferPointer<Float>, channels: Int = 1, sampleRate: Int
    ) throws -> MediaSource {
        let queue = try PCMQueue(sampleRate: sampleRate, channels: channels)
        try queue.append(samples, sampleRate: sampleRate, channels: channels)
        return MediaSource(content: .pcm(queue))
    }

    /// An entire recording; its samples are read from `source` while the turn is encoded.
    public static func recording(_ source: any SampleSource) -> MediaSource {
        MediaSource(content: .recording(source))
    }

    /// The pixels of an image.
    public static func pixels(_ image: RGBImage) -> MediaSource { .frames([image]) }

    /// The frames of a video. All of them are encoded, and an odd last frame twice. Frames that differ in size from
    /// the first are resized to it.
    public static func frames(_ frames: [RGBImage]) -> MediaSource { MediaSource(content: .frames(frames)) }
}

/// A medium to feed: its kind and the source of its data.
public enum MediaInput {
    case speech(MediaSource)
    /// Sound that is not speech.
    case sound(MediaSource)
    case image(MediaSource)
    /// The options select frames of a file; frames from memory are all encoded.
    case video(MediaSource, VideoOptions = VideoOptions())
}

/// Opens sources within a session's limits. A request to end the turn interrupts reading.
struct MediaOpener {
    let limits: MediaLimits
    let isInterrupted: () -> Bool

    /// - Parameter word: the medium's kind, for error messages
    func samples(_ source: MediaSource, _ word: String) throws -> any SampleSource {
        switch source.content {
        case .file(let path):
            return try AudioDecoder.open(path: path, limits: limits, interrupted: isInterrupted)
        case .reader(let reader, let place):
            return try AudioDecoder.open(
                reader: reader, name: "\(word) \(place)", limits: limits, interrupted: isInterrupted)
        case .pcm(let queue):
            queue.finish()
            return queue
        case .recording(let source): return source
        case .frames: throw LyraError(.argument, "pixels cannot be fed as \(word)")
        }
    }

    func image(_ source: MediaSource) throws -> RGBImage {
        if case .frames(let frames) = source.content {
            guard let image = frames.first, frames.count == 1 else {
                throw LyraError(.argument, "\(frames.count) frames cannot be fed as an image")
            }
            return image
        }
        let (reader, name) = try bytes(source, "image")
        return try ImageDecoder.decode(reader: reader, name: name, limits: limits, interrupted: isInterrupted)
    }

    /// The bytes of a file, with a name for messages.
    func bytes(_ source: MediaSource, _ word: String) throws -> (reader: any ByteReader, name: String) {
        switch source.content {
        case .file(let path):
            return (try FileByteReader(path: path, limits: limits, interrupted: isInterrupted), path)
        case .reader(let reader, let place): return (reader, "\(word) \(place)")
        case .frames: throw LyraError(.argument, "frames have no bytes")
        case .pcm, .recording: throw LyraError(.argument, "samples cannot be fed as \(word)")
        }
    }
}
