import Lyra
import LyraMedia
import LyraModel

extension Benchmarks {
    /// Times the encoding of an image, from pixels to tokens.
    func encodeImage() throws -> BenchmarkRow {
        let vision = try checkpoint.visionNetworks.get()
        let width = 1024, height = 768
        let image = try RGBImage(width: width, height: height) { pixels in
            for i in 0..<width * height * 3 { pixels[i] = UInt8(truncatingIfNeeded: i * 31 / 7) }
        }
        let patches = try vision.preparation.prepare(image).patches.rows
        let tokens = patches / (preset.vision.merge * preset.vision.merge)
        let tower = preset.vision, n = Double(patches), d = Double(tower.width), merged = Double(tower.mergedWidth)
        let layer = 2 * n * (4 * d * d + 2 * d * Double(tower.inner)) + 4 * n * n * d
        let ends =
            2 * n * d * Double(3 * tower.temporalPatch * tower.patch * tower.patch)
            + 2 * Double(tokens) * merged * (merged + Double(tower.outputWidth))
        let flops = Double(tower.layers) * layer + ends
        let (seconds, limit) = try timeAgainstSgemm(operations: flops) {
            let prepared = try vision.preparation.prepare(image)
            var encoding = try vision.encoder.begin(patches: prepared.patches, grid: prepared.grid)
            while try vision.encoder.step(&encoding) == nil {}
        }
        return BenchmarkRow(
            part: "vision encoder",
            what: "\(width) × \(height), \(tokens) tokens, \(Int((flops / seconds / 1e9).rounded())) GFLOP/s",
            value: seconds, unit: "s", limit: limit)
    }

    /// Times decoding all frames of a video and converting them to RGB.
    func decode(video file: String) throws -> BenchmarkRow {
        var frames = 0, size = (width: 0, height: 0)
        let seconds = try median {
            let decoder = try VideoDecoder(path: file)
            while try !decoder.scan(packets: 1 << 10) {}
            try decoder.select(Array(0..<decoder.frameCount))
            frames = 0
            while let frame = try decoder.nextFrame() {
                frames += 1
                size = (frame.width, frame.height)
            }
        }
        return BenchmarkRow(
            part: "video", what: "\(frames) frames of \(size.width) × \(size.height), decoded",
            value: Double(frames) / seconds, unit: "frames/s", limit: nil)
    }
}
