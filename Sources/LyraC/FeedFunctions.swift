import CLyra
import Lyra
import LyraBase

// MARK: Text

@c @implementation public func lyra_feed_text(
    _ session: OpaquePointer!, _ utf8: UnsafePointer<CChar>!, _ bytes: Int
) -> lyra_status {
    with(session) { try $0.feed(text: textBytes(utf8, bytes)) }
}

@c @implementation public func lyra_feed_text_special(
    _ session: OpaquePointer!, _ utf8: UnsafePointer<CChar>!, _ bytes: Int
) -> lyra_status {
    with(session) { try $0.feed(text: textBytes(utf8, bytes), specialTokens: true) }
}

// MARK: Speech

@c @implementation public func lyra_feed_audio_file(
    _ session: OpaquePointer!, _ path: UnsafePointer<CChar>!
) -> lyra_status {
    with(session) { try $0.feed(.speech(.file(SystemPath.string(cString: required(path, "path"))))) }
}

@c @implementation public func lyra_feed_audio_bytes(
    _ session: OpaquePointer!, _ data: UnsafeRawPointer!, _ bytes: Int
) -> lyra_status {
    with(session) { try $0.feed(.speech(buffer(data, bytes))) }
}

@c @implementation public func lyra_feed_audio_reader(
    _ session: OpaquePointer!, _ reader: UnsafePointer<lyra_reader>!
) -> lyra_status {
    withReader(session, reader) { try $0.feed(.speech(.reader($1))) }
}

@c @implementation public func lyra_feed_audio_pcm(
    _ session: OpaquePointer!, _ samples: UnsafePointer<Float>!, _ frames: Int, _ channels: Int32, _ sampleRate: Int32
) -> lyra_status {
    with(session) { session in
        try session.feed(.speech(pcm(samples, frames, channels, sampleRate)))
    }
}

@c @implementation public func lyra_feed_audio_end(_ session: OpaquePointer!) -> lyra_status {
    with(session) { $0.endRecording() }
}

// MARK: Images

@c @implementation public func lyra_feed_image_file(
    _ session: OpaquePointer!, _ path: UnsafePointer<CChar>!
) -> lyra_status {
    with(session) { try $0.feed(.image(.file(SystemPath.string(cString: required(path, "path"))))) }
}

@c @implementation public func lyra_feed_image_bytes(
    _ session: OpaquePointer!, _ data: UnsafeRawPointer!, _ bytes: Int
) -> lyra_status {
    with(session) { try $0.feed(.image(buffer(data, bytes))) }
}

@c @implementation public func lyra_feed_image_reader(
    _ session: OpaquePointer!, _ reader: UnsafePointer<lyra_reader>!
) -> lyra_status {
    withReader(session, reader) { try $0.feed(.image(.reader($1))) }
}

@c @implementation public func lyra_feed_image_rgb8(
    _ session: OpaquePointer!, _ pixels: UnsafePointer<UInt8>!, _ width: Int32, _ height: Int32, _ stride: Int
) -> lyra_status {
    with(session) { session in
        try session.feed(.image(.deferred { _ in try .pixels(images(pixels, 1, width, height, stride)[0]) }))
    }
}

/// Copies of a caller's images or frames, `stride · height` bytes apart.
private func images(
    _ pixels: UnsafePointer<UInt8>?, _ count: Int, _ width: Int32, _ height: Int32, _ stride: Int
) throws -> [RGBImage] {
    let pixels = try required(pixels, "pixels")
    // No real image has a row this long, and products of these numbers do not overflow.
    guard count > 0, count <= 1 << 20, stride > 0, stride <= 1 << 30, width > 0, height > 0, height <= 1 << 16 else {
        throw LyraError(
            .argument, "invalid images: \(count) of \(width) × \(height) pixels with \(stride) bytes a row")
    }
    let distance = stride * Int(height)
    return try (0..<count).map { index in
        // The last row needs no padding.
        let bytes = UnsafeRawBufferPointer(
            start: pixels + index * distance, count: distance - stride + min(stride, 3 * Int(width)))
        return try RGBImage(copying: bytes, width: Int(width), height: Int(height), stride: stride)
    }
}

// MARK: Videos

@c @implementation public func lyra_video_options_init_size(
    _ options: UnsafeMutablePointer<lyra_video_options>!, _ size: Int
) -> lyra_status { lyra_video_options.initialize(options, size) }

private func videoOptions(_ options: UnsafePointer<lyra_video_options>?) throws -> VideoOptions {
    guard let options else { return VideoOptions() }
    let given = try lyra_video_options(from: options)
    var result = VideoOptions()
    if given.frames_per_second != 0 { result.framesPerSecond = Double(given.frames_per_second) }
    if given.max_frames != 0 { result.maxFrames = Int(given.max_frames) }
    result.withAudio = try flag(given.with_audio, "with_audio")
    return result
}

@c @implementation public func lyra_feed_video_file(
    _ session: OpaquePointer!, _ path: UnsafePointer<CChar>!, _ options: UnsafePointer<lyra_video_options>!
) -> lyra_status {
    with(session) {
        try $0.feed(.video(.file(SystemPath.string(cString: required(path, "path"))), videoOptions(options)))
    }
}

@c @implementation public func lyra_feed_video_bytes(
    _ session: OpaquePointer!, _ data: UnsafeRawPointer!, _ bytes: Int, _ options: UnsafePointer<lyra_video_options>!
) -> lyra_status {
    with(session) { try $0.feed(.video(buffer(data, bytes), videoOptions(options))) }
}

@c @implementation public func lyra_feed_video_reader(
    _ session: OpaquePointer!, _ reader: UnsafePointer<lyra_reader>!, _ options: UnsafePointer<lyra_video_options>!
) -> lyra_status {
    withReader(session, reader) { try $0.feed(.video(.reader($1), videoOptions(options))) }
}

@c @implementation public func lyra_feed_video_frames(
    _ session: OpaquePointer!, _ pixels: UnsafePointer<UInt8>!, _ frames: Int, _ width: Int32, _ height: Int32,
    _ stride: Int
) -> lyra_status {
    with(session) { session in
        try session.feed(.video(.deferred { _ in try .frames(images(pixels, frames, width, height, stride)) }))
    }
}

// MARK: Sound

@c @implementation public func lyra_feed_sound_file(
    _ session: OpaquePointer!, _ path: UnsafePointer<CChar>!
) -> lyra_status {
    with(session) { try $0.feed(.sound(.file(SystemPath.string(cString: required(path, "path"))))) }
}

@c @implementation public func lyra_feed_sound_bytes(
    _ session: OpaquePointer!, _ data: UnsafeRawPointer!, _ bytes: Int
) -> lyra_status {
    with(session) { try $0.feed(.sound(buffer(data, bytes))) }
}

@c @implementation public func lyra_feed_sound_reader(
    _ session: OpaquePointer!, _ reader: UnsafePointer<lyra_reader>!
) -> lyra_status {
    withReader(session, reader) { try $0.feed(.sound(.reader($1))) }
}

@c @implementation public func lyra_feed_sound_pcm(
    _ session: OpaquePointer!, _ samples: UnsafePointer<Float>!, _ frames: Int, _ channels: Int32, _ sampleRate: Int32
) -> lyra_status {
    with(session) { session in
        try session.feed(.sound(pcm(samples, frames, channels, sampleRate)))
    }
}

// MARK: Callers' memory
//
// Media are copied once the session is known to take them: `MediaSource.deferred`.

/// A caller's text, given by pointer and length.
func textBytes(_ utf8: UnsafePointer<CChar>?, _ bytes: Int) throws -> UnsafeRawBufferPointer {
    guard bytes >= 0 else { throw LyraError(.argument, "a text's length cannot be \(bytes) bytes") }
    guard bytes <= 64 << 20 else {
        throw LyraError(
            .argument, "a text of \(bytes) bytes is over the limit of 64 MiB; shorten it, or feed it in pieces")
    }
    return UnsafeRawBufferPointer(start: bytes == 0 ? nil : try required(utf8, "utf8"), count: bytes)
}

/// The bytes of a file in a caller's buffer.
private func buffer(_ data: UnsafeRawPointer?, _ bytes: Int) -> MediaSource {
    .deferred { _ in
        guard bytes >= 0 else { throw LyraError(.argument, "a buffer's size cannot be \(bytes) bytes") }
        return try .bytes(copying: UnsafeRawBufferPointer(start: required(data, "data"), count: bytes))
    }
}

/// A caller's interleaved samples.
private func pcm(
    _ samples: UnsafePointer<Float>?, _ frames: Int, _ channels: Int32, _ sampleRate: Int32
) -> MediaSource {
    .deferred { firstFrame in
        let (count, overflow) = frames.multipliedReportingOverflow(by: Int(channels))
        guard frames >= 0, channels > 0, !overflow, count <= Int.max / 4 else {
            throw LyraError(.argument, "invalid samples: \(frames) frames of \(channels) channels")
        }
        let samples = UnsafeBufferPointer(start: frames == 0 ? nil : try required(samples, "samples"), count: count)
        return try .samples(
            copying: samples, channels: Int(channels), sampleRate: Int(sampleRate), firstFrame: firstFrame)
    }
}
