import LyraBase
import LyraMedia
import LyraModel
import LyraTensor

/// Encodes an image or a video to prompt tokens: selects and decodes frames one by one, prepares them in pairs, and
/// encodes one chunk at a time.
final class VisionEncoding: MediaEncoding {
    private enum State {
        case image(RGBImage)
        case scanning(VideoDecoder, VideoSampling)
        case decoding(VideoDecoder, VideoFrames)
        case frames(ArraySlice<RGBImage>, VideoFrames)
        case encoding(VisionEncoder.Encoding)
        case done
    }

    private let networks: VisionNetworks
    private let preparation: ImagePreparation
    /// Polled while images and frames are resized; true ends the step.
    private let interrupted: () -> Bool
    private var state: State
    private var tokens: Tensor?
    let kind: MediaKind
    private(set) var layout = MediaLayout.sequence
    let expectedItems: Int? = 1
    private(set) var expectedRows: Int?

    /// An image.
    init(
        _ image: RGBImage, _ networks: VisionNetworks, preparation: ImagePreparation,
        interrupted: @escaping () -> Bool = { false }
    ) {
        (self.networks, self.preparation, self.interrupted) = (networks, preparation, interrupted)
        kind = .image
        state = .image(image)
    }

    /// A video; `sampling` selects the frames to encode.
    init(
        _ video: VideoDecoder, _ networks: VisionNetworks, preparation: ImagePreparation, sampling: VideoSampling,
        interrupted: @escaping () -> Bool = { false }
    ) {
        (self.networks, self.preparation, self.interrupted) = (networks, preparation, interrupted)
        kind = .video
        state = .scanning(video, sampling)
    }

    /// Frames, all of which are encoded; frames that differ in size from the first are resized to it.
    ///
    /// - Throws: `LyraError.argument` if there are none.
    init(
        _ frames: [RGBImage], _ networks: VisionNetworks, preparation: ImagePreparation,
        interrupted: @escaping () -> Bool = { false }
    ) throws {
        (self.networks, self.preparation, self.interrupted) = (networks, preparation, interrupted)
        kind = .video
        guard let first = frames.first else { throw LyraError(.argument, "a video needs at least one frame") }
        state = .frames(
            frames[...],
            try VideoFrames(
                preparation, frameSize: PixelSize(width: first.width, height: first.height), frames: frames.count))
    }

    var isDone: Bool { if case .done = state { true } else { false } }

    /// Number of packets of a video file that one step reads.
    private static let packetsPerStep = 1024

    var readyRows: Int { tokens?.rows ?? 0 }

    var readyBytes: Int { (tokens?.count ?? 0) * MemoryLayout<Float>.stride }

    func take(adapter: Int?) -> [EncodedRows] {
        defer { tokens = nil }
        return tokens.map { [EncodedRows(rows: $0)] } ?? []
    }

    func step(isComplete: Bool) throws -> EncodingStep {
        let current = state
        state = .done  // leaves one reference, so that the encoding changes in place
        switch consume current {
        case .image(let image):
            try encode(preparation.prepare(image, interrupted: interrupted))
        case .scanning(let video, let sampling):
            state = try scan(video, sampling)
        case .decoding(let video, var frames):
            if let frame = try video.nextFrame() {
                try frames.append(frame, interrupted: interrupted)
                state = .decoding(video, frames)
            } else {
                try encode(frames.finish(interrupted: interrupted))
            }
        case .frames(var rest, var frames):
            if let frame = rest.popFirst() {
                try frames.append(frame, interrupted: interrupted)
                state = .frames(rest, frames)
            } else {
                try encode(frames.finish(interrupted: interrupted))
            }
        case .encoding(var encoding):
            if let result = try networks.encoder.step(&encoding) {
                tokens = result
                return .finished
            }
            state = .encoding(encoding)
        case .done:
            break
        }
        return .working
    }

    private func scan(_ video: VideoDecoder, _ sampling: VideoSampling) throws -> State {
        guard try video.scan(packets: Self.packetsPerStep) else { return .scanning(video, sampling) }
        let chosen = sampling.indices(frameCount: video.frameCount, frameRate: video.averageFrameRate)
        try video.select(chosen)
        return .decoding(
            video,
            try VideoFrames(
                preparation, frameSize: PixelSize(width: video.width, height: video.height), frames: chosen.count))
    }

    private func encode(_ patches: PatchGrid) throws {
        let merge = networks.encoder.configuration.merge
        layout = .grid(
            time: patches.grid.time, height: patches.grid.height / merge, width: patches.grid.width / merge)
        expectedRows = patches.grid.time * (patches.grid.height / merge) * (patches.grid.width / merge)
        state = .encoding(try networks.encoder.begin(patches: patches.patches, grid: patches.grid))
    }
}
