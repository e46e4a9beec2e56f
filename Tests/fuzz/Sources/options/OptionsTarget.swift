import CLyra
import FuzzSupport
import Lyra

@testable import LyraC

/// Fills the option structs with the input: a session's, then a video's, then a model's. Each must be refused with a
/// message, or work: a little of everything is fed and computed.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    var input = FuzzInput(start, count).bytes[...]
    let (adapter, prompt) = (text(&input), text(&input))
    var session = lyra_session_options(), video = lyra_video_options(), model = lyra_model_options()
    fill(&session, &input)
    fill(&video, &input)
    fill(&model, &input)
    session.size = MemoryLayout<lyra_session_options>.size
    video.size = MemoryLayout<lyra_video_options>.size
    adapter.withUnsafeBufferPointer { adapter in
        prompt.withUnsafeBufferPointer { prompt in
            session.adapter = adapter.first == 0 ? nil : adapter.baseAddress
            session.system_prompt = prompt.first == 0 ? nil : prompt.baseAddress
            work(session, video)
        }
    }
    // Only for one input of eight, because opening a model takes longest.
    if count % 8 == 7 { open(model) }
    return 0
}

private func work(_ options: lyra_session_options, _ video: lyra_video_options) {
    var handle: OpaquePointer?
    let created = withUnsafePointer(to: options) { lyra_session_create(fuzzHandle, $0, &handle) }
    guard isAnswered(created), let handle else { return }
    defer { lyra_session_destroy(handle) }
    let picture = [UInt8](repeating: 99, count: 56 * 56 * 3), sound = [Float](repeating: 0.25, count: 800)
    use(lyra_feed_image_rgb8(handle, picture, 56, 56, 56 * 3))
    use(lyra_feed_image_bytes(handle, bitmap, bitmap.count))
    use(withUnsafePointer(to: video) { lyra_feed_video_bytes(handle, bitmap, bitmap.count, $0) })
    use(lyra_feed_audio_pcm(handle, sound, sound.count, 1, 16_000))
    use(lyra_feed_sound_pcm(handle, sound, sound.count, 1, 16_000))
    use(lyra_feed_text(handle, "What?", 5))
    guard isAnswered(lyra_end_turn(handle)) else { return }
    var events: UInt32 = 0
    for _ in 0..<24 {
        guard isAnswered(lyra_step(handle, &events)), events & UInt32(LYRA_EVENT_END) == 0 else { return }
    }
    lyra_cancel(handle)
    use(lyra_step(handle, &events))
}

private func open(_ given: lyra_model_options) {
    var options = given
    options.size = MemoryLayout<lyra_model_options>.size
    (options.towers_dir, options.vocoder, options.sound_projector, options.user) = (nil, nil, nil, nil)
    (options.log, options.progress) = (nil, nil)
    // Starting hundreds of threads takes time and tests nothing.
    if options.threads > 0 { options.threads = options.threads % 4 + 1 }
    var handle: OpaquePointer?
    if isAnswered(lyra_model_open(fuzzModelPath, &options, &handle)) { lyra_model_close(handle) }
}

/// Whether a call succeeded. A failed call must have set a message.
private func isAnswered(_ status: lyra_status) -> Bool {
    guard status != lyra_status(LYRA_OK) else { return true }
    guard lyra_last_error().pointee != 0 else { fatalError("an error without a message") }
    return false
}

nonisolated(unsafe) private let fuzzHandle: OpaquePointer = {
    // These programs are built without the model that is inside other builds.
    var none: OpaquePointer?
    guard lyra_model_open("lyra:nano", nil, &none) == lyra_status(LYRA_E_MISSING), none == nil,
        String(cString: lyra_last_error()).contains("package trait Nano")
    else { fatalError("a library without lyra:nano must refuse the name") }
    do { return try models.insert(fuzzModel) } catch { fatalError("\(error)") }
}()

/// A C string of up to 15 bytes, whose length is in the first byte.
private func text(_ input: inout Slice<UnsafeRawBufferPointer>) -> [CChar] {
    guard let count = input.popFirst() else { return [0] }
    let bytes = input.prefix(Int(count % 16))
    input = input.dropFirst(bytes.count)
    return bytes.prefix { $0 != 0 }.map { CChar(bitPattern: $0) } + [0]
}

private func fill<Struct>(_ options: inout Struct, _ input: inout Slice<UnsafeRawBufferPointer>) {
    withUnsafeMutableBytes(of: &options) { target in
        let bytes = input.prefix(target.count)
        target.copyBytes(from: bytes)
        input = input.dropFirst(bytes.count)
    }
}

/// A picture of 2 × 2 pixels in a file: BMP, 24 bits.
private let bitmap: [UInt8] =
    [0x42, 0x4D, 70, 0, 0, 0, 0, 0, 0, 0, 54, 0, 0, 0, 40, 0, 0, 0, 2, 0, 0, 0, 2, 0, 0, 0, 1, 0, 24, 0]
    + [UInt8](repeating: 0, count: 24) + [UInt8](repeating: 128, count: 16)
