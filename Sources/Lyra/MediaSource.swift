import LyraBase
import LyraMedia

/// Source of the data of a medium of any kind.
///
///     try session.feed(.speech(.file("question.wav")))
///     try session.feed(.image(.bytes(png)))
///     try session.feed(.video(.frames(frames)))
///     try session.feed(.sound(.samples(floats, sampleRate: 48_000)))
///
/// Files, pixels and frames can be fed any number of times. A reader, bytes, samples and a recording are used up by
/// the first feed that succeeds.
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

    private enum Origin {
        case made(Content)
        /// Makes the source when it is fed.
        case deferred((_ firstFrame: Int64) throws -> MediaSource)
    }

    /// Whether a source is used up; shared by all copies of the source.
    private final class Use {
        var isOver = false
    }

    private let origin: Origin
    private let use = Use()

    private init(content: Content) { origin = .made(content) }

    private init(_ origin: Origin) { self.origin = origin }

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
        try .samples(copying: samples, channels: channels, sampleRate: sampleRate, firstFrame: 0)
    }

    /// - Parameter firstFrame: the first frame's number in its recording, for error messages
    package static func samples(
        copying samples: UnsafeBufferPointer<Float>, channels: Int, sampleRate: Int, firstFrame: Int64
    ) throws -> MediaSource {
        let queue = try PCMQueue(sampleRate: sampleRate, channels: channels, firstFrame: firstFrame)
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

    /// A source that `make` creates once the session is known to take this kind of medium, so that a refused feed
    /// copies none of the caller's memory.
    ///
    /// - Parameter make: called during the feed, with the number of frames already fed of the recording that samples
    ///   continue
    package static func deferred(_ make: @escaping (_ firstFrame: Int64) throws -> MediaSource) -> MediaSource {
        MediaSource(.deferred(make))
    }

    /// - Parameter firstFrame: number of frames already fed of the recording that the samples continue
    func content(firstFrame: Int64 = 0) throws -> Content {
        switch origin {
        case .made(let content): content
        case .deferred(let make): try make(firstFrame).content()
        }
    }

    /// Runs `body`, which feeds this source, and records that the source is used up.
    ///
    /// - Parameter word: the medium's kind, for error messages
    /// - Throws: any error of `body`; `LyraError.state` if an earlier feed used the source up.
    func use(as word: String, _ body: () throws -> Void) throws {
        guard !use.isOver else {
            throw LyraError(.state, "\(name(word)) was fed already; make another source to feed the data again")
        }
        try body()
        switch origin {
        case .made(.file), .made(.frames): break
        case .made(.reader), .made(.pcm), .made(.recording), .deferred: use.isOver = true
        }
    }

    private func name(_ word: String) -> String {
        switch origin {
        case .made(.file(let path)): path
        case .made(.reader(_, let place)): "\(word) \(place)"
        case .made(.pcm(let queue)): queue.name
        case .made(.recording(let source)): source.name
        case .made(.frames), .deferred: word
        }
    }
}

/// A medium to feed: its kind and the source of its data.
public enum MediaInput {
    case speech(MediaSource)
    /// Sound that is not speech.
    case sound(MediaSource)
    case image(MediaSource)
    /// The options select frames of a file; frames from memory are all encoded.
    case video(MediaSource, VideoOptions = VideoOptions())

    var source: MediaSource {
        switch self {
        case .speech(let source), .sound(let source), .image(let source), .video(let source, _): source
        }
    }

    /// The medium's kind, for error messages.
    var word: String {
        switch self {
        case .speech: "audio"
        case .sound: "sound"
        case .image: "image"
        case .video: "video"
        }
    }
}

/// Opens sources within a session's limits. A request to end the turn interrupts reading.
struct MediaOpener {
    let limits: MediaLimits
    let isInterrupted: () -> Bool

    /// - Parameter word: the medium's kind, for error messages
    func samples(_ content: MediaSource.Content, _ word: String) throws -> any SampleSource {
        switch content {
        case .file(let path):
            return try AudioDecoder.open(path: path, limits: limits, interrupted: isInterrupted)
        case .reader(let reader, let place):
            return try AudioDecoder.open(
                reader: reader, name: "\(word) \(place)", limits: limits, interrupted: isInterrupted)
        case .pcm(let queue):
            queue.finish()
            return queue
        case .recording(let source): return source
        case .frames: throw LyraError(.argument, "pixels cannot be fed as \(word); feed them as an image or a video")
        }
    }

    func image(_ content: MediaSource.Content) throws -> RGBImage {
        if case .frames(let frames) = content, frames.count == 1 { return frames[0] }
        let (reader, name) = try bytes(content, "image")
        return try ImageDecoder.decode(reader: reader, name: name, limits: limits, interrupted: isInterrupted)
    }

    /// The bytes of a file, with a name for messages.
    func bytes(_ content: MediaSource.Content, _ word: String) throws -> (reader: any ByteReader, name: String) {
        switch content {
        case .file(let path):
            return (try FileByteReader(path: path, limits: limits, interrupted: isInterrupted), path)
        case .reader(let reader, let place): return (reader, "\(word) \(place)")
        case .frames(let frames):
            throw LyraError(.argument, "\(frames.count) frames cannot be fed as \(word); feed them as a video")
        case .pcm, .recording:
            throw LyraError(.argument, "samples cannot be fed as \(word); feed them as speech or sound")
        }
    }
}
