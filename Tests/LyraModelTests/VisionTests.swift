import LyraMedia
import LyraTensor
import TestSupport
import Testing

@testable import LyraModel

/// From pixels and samples to prompt rows, against the reference's towers.
@Suite struct VisionTests {
    private func encode(_ prepared: PatchGrid, _ encoder: VisionEncoder) throws -> (tokens: Tensor, steps: Int) {
        var encoding = try encoder.begin(patches: prepared.patches, grid: prepared.grid)
        var steps = 1
        while true {
            if let tokens = try encoder.step(&encoding) {
                #expect(encoding.progress.done == encoding.progress.total)
                return (tokens, steps)
            }
            #expect(encoding.progress.done == steps)
            steps += 1
        }
    }

    @Test(arguments: Golden.both, ["image_small", "image_tall", "image_tiny"])
    func tokensOfImagesEqualTheReference(_ golden: Golden, _ name: String) throws {
        let values = try golden.values(name), vision = try golden.checkpoint.visionNetworks.get()
        let prepared = try vision.preparation.prepare(golden.image(name))
        let grid = [prepared.grid.time, prepared.grid.height, prepared.grid.width]
        #expect(grid == (try values.integers("out.grid_thw")))
        let tokens = try encode(prepared, vision.encoder).tokens
        #expect(difference(tokens.values, try values.floats("out.tokens")) < Golden.tolerance)
    }

    @Test(arguments: Golden.both) func tokensOfFramesEqualTheReference(_ golden: Golden) throws {
        let values = try golden.values("video_frames"), vision = try golden.checkpoint.visionNetworks.get()
        let frames = try golden.videoFrames()
        var video = try VideoFrames(
            vision.preparation, frameSize: PixelSize(width: 150, height: 90), frames: frames.count)
        for frame in frames { try video.append(frame) }
        let prepared = try video.finish()
        let grid = [prepared.grid.time, prepared.grid.height, prepared.grid.width]
        #expect(grid == (try values.integers("out.grid_thw")))
        let tokens = try encode(prepared, vision.encoder).tokens
        #expect(difference(tokens.values, try values.floats("out.tokens")) < Golden.tolerance)
    }

    /// A frame of several chunks has the result of the whole, because attention spans the frame.
    @Test func chunksDoNotChangeTheResult() throws {
        let vision = try Golden.a.checkpoint.visionNetworks.get()
        let picture = try RGBImage(width: 28 * 30, height: 28 * 19) { pixels in
            for i in 0..<28 * 30 * 28 * 19 * 3 { pixels[i] = UInt8(truncatingIfNeeded: i &* 2_654_435_761 >> 13) }
        }
        let prepared = try vision.preparation.prepare(picture)
        #expect(prepared.patches.rows == 60 * 38)  // three chunks
        let (tokens, steps) = try encode(prepared, vision.encoder)
        #expect(steps == 3 * (2 * 2 + 2))
        #expect(difference(tokens.values, try plain(prepared, vision.encoder)) < 1e-5)
    }

    /// The encoder without chunks.
    private func plain(_ prepared: PatchGrid, _ encoder: VisionEncoder) throws -> [Float] {
        let whole = encoder.withChunks(ofRows: prepared.patches.rows)
        return try encode(prepared, whole).tokens.values
    }

    @Test(arguments: Golden.both, ["sound_bells", "sound_click"])
    func tokensOfSoundsEqualTheReference(_ golden: Golden, _ name: String) throws {
        let values = try golden.values(name), input = try golden.checkpoint.soundNetworks.get()
        let queue = try PCMQueue(sampleRate: 16_000, channels: 1)
        try golden.sound(name).withUnsafeBufferPointer { try queue.append($0, sampleRate: 16_000, channels: 1) }
        queue.finish()
        let clips = try SoundClips(queue)
        while try !clips.read() {}
        var encoding = try input.encoder.begin(clips: clips.features())
        while true {
            guard let vectors = try input.encoder.step(&encoding) else { continue }
            #expect(difference(vectors.values, try values.floats("out.embedding")) < Golden.tolerance)
            let tokens = try input.project(vectors)
            #expect(difference(tokens.values, try values.floats("out.tokens")) < Golden.tolerance)
            return
        }
    }

    @Test func inputsOfAnotherShapeAreRefused() throws {
        let vision = try Golden.a.checkpoint.visionNetworks.get().encoder
        let sound = try Golden.a.checkpoint.soundNetworks.get().encoder
        let grids = [(1, 2, 2), (1, 4, 2), (0, 2, 2), (1, 3, 3), (1, -2, -2), (1, Int.max, 2)]
        for (rows, grid) in zip([4, 4, 0, 9, 4, 4], grids) {
            let columns = grid == (1, 2, 2) ? 1175 : 1176
            let error = lyraError {
                _ = try vision.begin(
                    patches: Tensor(zeros: [rows, columns]), grid: (time: grid.0, height: grid.1, width: grid.2))
            }
            #expect(error.code == .format, "\(grid)")
        }
        for shape in [[3, 128, 203], [0, 128, 204], [128, 204]] {
            #expect(lyraError { _ = try sound.begin(clips: Tensor(zeros: shape)) }.code == .format, "\(shape)")
        }
    }
}
