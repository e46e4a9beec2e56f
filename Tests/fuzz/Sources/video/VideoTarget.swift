import FuzzSupport
import LyraBase
import LyraMedia

/// Counts the frames of the input as a video of at most a quarter of a million pixels, and decodes a few of them.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    var limits = MediaLimits()
    limits.videoPixels = 1 << 18
    limits.videoFrames = 10_000
    limits.threads = 1
    try? decode([UInt8](FuzzInput(start, count).bytes), limits)
    return 0
}

private func decode(_ bytes: [UInt8], _ limits: MediaLimits) throws {
    let video = try VideoDecoder(reader: MemoryReader(copying: bytes), name: "video", limits: limits)
    while try !video.scan(packets: 64) {}
    let last = video.frameCount - 1
    try video.select([0, last / 2, last])
    while let image = try video.nextFrame() { use(image.withPixels { $0[image.width * image.height * 3 - 1] }) }
    // Backwards, which needs a seek.
    try video.select([last / 3])
    use(try video.nextFrame())
}
