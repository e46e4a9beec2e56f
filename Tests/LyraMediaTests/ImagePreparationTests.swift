import Foundation
import LyraBase
import Testing

@testable import LyraMedia

/// Images and frames against Pillow, transformers and qwen-vl-utils (Tests/Fixtures/media/make_images.py).
@Suite struct ImagePreparationTests {
    private struct Expectations: Decodable {
        struct Resize: Decodable {
            var from: [Int]
            var to: [Int]
            var bicubic: String
            var nearest: String
        }
        struct Prepare: Decodable {
            var from: [Int]
            var grid: [Int]
            var levels: String
        }
        struct Frames: Decodable {
            var total: Int
            var rate: Double
            var fps: Double
            var most: Int
            var frames: [Int]
        }
        var resize: [Resize]
        var prepare: [Prepare]
        var frames: [Frames]

        static func read() throws -> Expectations {
            try JSONDecoder().decode(Expectations.self, from: Data(fixture("images.json")))
        }
    }

    /// The image of this size that make_images.py makes.
    private func picture(_ size: [Int]) throws -> RGBImage {
        let (width, height) = (size[0], size[1])
        return try RGBImage(width: width, height: height) { pixels in
            for y in 0..<height {
                for x in 0..<width {
                    let pixel = pixels + (y * width + x) * 3
                    pixel[0] = UInt8((x * 7 + y * 3 + (x * y) % 251) % 256)
                    pixel[1] = UInt8((x * x + 5 * y) % 256)
                    pixel[2] = UInt8((x / 5 + y / 3) % 2 * 255)
                }
            }
        }
    }

    /// FNV-1a of 64 bits.
    private func hash(_ bytes: some Sequence<UInt8>) -> String {
        let value = bytes.reduce(0xcbf2_9ce4_8422_2325 as UInt64) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
        let digits = String(value, radix: 16)
        return String(repeating: "0", count: 16 - digits.count) + digits
    }

    private func hash(_ image: RGBImage) -> String {
        image.withPixels { hash(UnsafeBufferPointer(start: $0, count: image.width * image.height * 3)) }
    }

    @Test func resizedImagesEqualPillowByteForByte() throws {
        let all = try Expectations.read().resize
        #expect(all.count == 40)
        for expected in all {
            let image = try picture(expected.from), size = PixelSize(width: expected.to[0], height: expected.to[1])
            #expect(
                hash(try ImageResizer.bicubic(image, size)) == expected.bicubic, "\(expected.from) to \(expected.to)")
            #expect(
                hash(try ImageResizer.nearest(image, size)) == expected.nearest, "\(expected.from) to \(expected.to)")
        }
    }

    /// The patches, converted back to levels 0 … 255, equal the reference's.
    @Test func preparedImagesEqualTheReference() throws {
        let preparation = ImagePreparation(), configuration = preparation.configuration
        for expected in try Expectations.read().prepare {
            let prepared = try preparation.prepare(picture(expected.from))
            let grid = [prepared.grid.time, prepared.grid.height, prepared.grid.width]
            #expect(grid == expected.grid, "\(expected.from)")
            let values = prepared.patches.values
            var worst: Float = 0
            let levels = values.indices.map { index -> UInt8 in
                let channel = index / 392 % 3
                let level = (values[index] * configuration.deviation[channel] + configuration.mean[channel]) * 255
                worst = max(worst, abs(level - level.rounded()))
                return UInt8(level.rounded())
            }
            #expect(hash(levels) == expected.levels, "\(expected.from)")
            #expect(worst < 1e-4, "\(expected.from)")  // values are exact to the rounding of a float32 product
        }
    }

    @Test func chosenFramesEqualTheReference() throws {
        for expected in try Expectations.read().frames {
            let sampling = try VideoSampling(framesPerSecond: expected.fps, maxFrames: expected.most)
            let got = sampling.indices(frameCount: expected.total, frameRate: expected.rate)
            #expect(got == expected.frames, "\(expected.total) at \(expected.rate)")
        }
    }

    @Test func shortVideosAndOddRatesGiveFrames() throws {
        let sampling = try VideoSampling()
        #expect(sampling.indices(frameCount: 1, frameRate: 30) == [0, 0, 0, 0])
        #expect(sampling.indices(frameCount: 3, frameRate: 30) == [0, 1, 1, 2])
        #expect(sampling.indices(frameCount: 0, frameRate: 30) == [])
        for rate in [0, -1, .nan, .infinity, 1e-300, 1e300] {
            let count = sampling.indices(frameCount: 1000, frameRate: rate).count
            #expect(count <= 16 && count >= 4 && count % 2 == 0, "\(rate)")
        }
        #expect(sampling.indices(frameCount: .max, frameRate: 30).count == 16)
        let wrong: [(Double, Int)] = [(0, 16), (.nan, 16), (-2, 16), (2, 0), (2, 1 << 20)]
        for (rate, most) in wrong {
            #expect(throws: LyraError.self) { try VideoSampling(framesPerSecond: rate, maxFrames: most) }
        }
    }

    @Test func aPatchHoldsAPairOfFrames() throws {
        let frames = try (0..<3).map { index in
            try RGBImage(width: 56, height: 28) { $0.update(repeating: UInt8(index * 50), count: 56 * 28 * 3) }
        }
        var video = try VideoFrames(
            ImagePreparation(), frameSize: PixelSize(width: 56, height: 28), frames: frames.count)
        for frame in frames { try video.append(frame) }
        let grid = try video.finish()
        // 3136 pixels at least: 56 × 28 becomes 84 × 56.
        #expect(grid.grid == (2, 4, 6))
        let first = grid.patches.rows(0..<1).values, last = grid.patches.rows(24..<25).values
        func level(_ value: Float) -> Float { ((value * 0.26862954 + 0.48145466) * 255).rounded() }
        #expect([first[0], first[196], last[0], last[196]].map(level) == [0, 50, 100, 100])
    }

    @Test func missingFramesRepeatTheLastAndNoFrameIsAnError() throws {
        let size = PixelSize(width: 56, height: 56)
        let image = try RGBImage(width: 56, height: 56) { $0.update(repeating: 7, count: 56 * 56 * 3) }
        var video = try VideoFrames(ImagePreparation(), frameSize: size, frames: 8)
        try video.append(image)
        let grid = try video.finish()
        #expect(grid.grid.time == 4)
        #expect(grid.patches.rows(0..<16).values == grid.patches.rows(48..<64).values)
        let error = try lyraError { _ = try VideoFrames(ImagePreparation(), frameSize: size, frames: 8).finish() }
        #expect(error?.code == .format)
    }

    @Test func imagesAreShrunkOnRequest() throws {
        let image = try picture([640, 480])
        let all = try ImagePreparation().prepare(image).patches.rows
        let few = try ImagePreparation().limited(toPixels: 50_000).prepare(image).patches.rows
        #expect(all == 34 * 46 && few * 196 <= 50_000 && few > 100)
        #expect(try ImagePreparation().limited(toPixels: 1).prepare(image).patches.rows * 196 <= 3136)
        // 640 × 480 becomes 320 × 240, and then 308 × 252: multiples of 28.
        let small = ImagePreparation().limited(toSide: 320)
        #expect(try small.prepare(image).patches.rows == 22 * 18)
        #expect(small.tokens(ofImage: PixelSize(width: 640, height: 480)) == 11 * 9)
    }

    @Test func impossibleSizesAreRefused() throws {
        for (width, height, frames) in [(0, 28, 1), (28, -1, 1), (28, 28, 0), (28, 28, .max), (65_535, 1, 2)] {
            let size = PixelSize(width: width, height: height)
            #expect(throws: LyraError.self) { try VideoFrames(ImagePreparation(), frameSize: size, frames: frames) }
        }
        let bytes = [UInt8](repeating: 0, count: 100)
        let wrong: [(Int, Int, Int)] = [
            (0, 1, 3), (1, 0, 3), (6, 6, 18), (2, 2, 5), (5, 5, .max), (65_536, 1, 200_000), (1, 65_535, .max / 2),
        ]
        for (width, height, stride) in wrong {
            let error = try lyraError {
                _ = try bytes.withUnsafeBytes {
                    try RGBImage(copying: $0, width: width, height: height, stride: stride)
                }
            }
            #expect(error?.code == .argument, "\(width) × \(height), \(stride)")
        }
    }

    /// The narrowest images that are possible.
    @Test(arguments: [[65_535, 1], [1, 65_535], [1, 1]]) func extremeImagesArePrepared(_ size: [Int]) throws {
        let prepared = try ImagePreparation().prepare(picture(size))
        #expect(prepared.patches.rows % 4 == 0 && prepared.patches.rows >= 16)
    }

    @Test func invalidConfigurationsAreRefused() throws {
        func read(_ json: String) throws -> ImageConfiguration {
            let configuration = try JSONDecoder().decode(ImageConfiguration.self, from: Data(json.utf8))
            try configuration.validate("test")
            return configuration
        }
        #expect(try read("{}") == ImageConfiguration())
        #expect(try read(#"{"size": {"shortest_edge": 4000, "longest_edge": 50000}}"#).maxPixels == 50_000)
        #expect(try read(#"{"max_pixels": 60000, "size": {"longest_edge": 50000}}"#).maxPixels == 60_000)
        for json in [
            #"{"patch_size": 0}"#, #"{"patch_size": 4611686018427387904}"#, #"{"merge_size": -2}"#,
            #"{"max_pixels": 100}"#,
            #"{"min_pixels": 99999999}"#, #"{"image_mean": [0, 0]}"#, #"{"image_std": [0, 1, 1]}"#,
            #"{"rescale_factor": 0}"#, #"{"temporal_patch_size": 17}"#, #"{"image_std": [1e-30, 1, 1]}"#,
        ] {
            #expect(try lyraError { _ = try read(json) }?.code == .format, "\(json)")
        }
    }
}
