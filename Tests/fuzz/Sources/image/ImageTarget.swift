import FuzzSupport
import LyraBase
import LyraMedia

/// Decodes the input as a picture of at most two million pixels.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    var limits = MediaLimits()
    limits.imagePixels = 1 << 21
    let input = FuzzInput(start, count)
    guard
        let image = try? ImageDecoder.decode(
            reader: MemoryReader(copying: input.bytes), name: "image", limits: limits)
    else { return 0 }
    use(image.withPixels { $0[image.width * image.height * 3 - 1] })
    return 0
}
