import ArgumentParser
import Lyra
import LyraBase
import LyraFormats
import LyraMedia
import LyraTensor

struct FeaturesCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "features",
        abstract: "Writes a tower's input features for an image, a video or a sound.",
        discussion: """
            For comparison with other programs; the numbers equal those of the published preprocessors. The \
            safetensors file holds, for an image: rgb [height, width, 3] as decoded, patches [t·h·w, 1176] and \
            grid_thw [3]; for a video: frames (indices of the selected frames), patches and grid_thw; for a sound: \
            clips [3, 128, 204].
            """)

    enum Kind: String, ExpressibleByArgument, CaseIterable { case image, video, sound }

    @Argument(help: "An image, video or recording; - is standard input.")
    var file: InputFile

    @Option(name: .customLong("as"), help: "The kind of the file.")
    var kind = Kind.image

    @Option(help: ArgumentHelp("The safetensors file to write.", valueName: "file"))
    var out: String

    @Option(
        parsing: .unconditional, help: ArgumentHelp("Maximum number of video frames to encode.", valueName: "n"))
    var maxFrames = 16

    func run() throws {
        let file = try file.path()
        switch kind {
        case .image:
            do { try image(file) } catch let error as LyraError where error.code == .format {
                guard let other = otherKind(file) else { throw error }
                throw LyraError(.format, "\(error.message); it is a \(other.rawValue): pass --as \(other.rawValue)")
            }
        case .video: try video(file)
        case .sound: try sound(file)
        }
    }

    /// The kind of a file that is not an image.
    private func otherKind(_ file: String) -> Kind? {
        // The data of a pipe is already consumed.
        guard (try? FileByteReader(regularFile: file)) != nil else { return nil }
        if (try? VideoDecoder(path: file)) != nil { return .video }
        return (try? AudioDecoder.open(path: file)) != nil ? .sound : nil
    }

    private func image(_ file: String) throws {
        let image = try ImageDecoder.decode(path: file)
        let shape = [image.height, image.width, 3]
        let prepared = try ImagePreparation().prepare(image)
        try write(prepared, "rgb", TensorSpec(name: "rgb", type: .uint8, shape: shape)) { put in
            try image.withPixels { try put(UnsafeRawBufferPointer(start: $0, count: shape.reduce(1, *))) }
        }
    }

    private func video(_ file: String) throws {
        let video = try VideoDecoder(path: file)
        while try !video.scan(packets: 4096) {}
        let sampling = try VideoSampling(maxFrames: maxFrames)
        let chosen = sampling.indices(frameCount: video.frameCount, frameRate: video.averageFrameRate)
        try video.select(chosen)
        let size = PixelSize(width: video.width, height: video.height)
        var frames = try VideoFrames(ImagePreparation(), frameSize: size, frames: chosen.count)
        while let frame = try video.nextFrame() { try frames.append(frame) }
        let spec = TensorSpec(name: "frames", type: .int64, shape: [chosen.count])
        try write(frames.finish(), "frames", spec) { put in
            try chosen.map(Int64.init).withUnsafeBytes { try put($0) }
        }
    }

    private func sound(_ file: String) throws {
        let clips = try SoundClips(AudioDecoder.open(path: file))
        while try !clips.read() {}
        let features = try clips.features()
        let writer = try SafetensorsWriter(
            path: out, tensors: [TensorSpec(name: "clips", type: .float32, shape: features.shape)])
        try put(features, "clips", writer)
        try writer.finish()
    }

    /// Writes patches and their grid, with further tensors.
    private func write(
        _ prepared: PatchGrid, _ name: String, _ spec: TensorSpec,
        _ fill: ((UnsafeRawBufferPointer) throws -> Void) throws -> Void
    ) throws {
        let writer = try SafetensorsWriter(
            path: out,
            tensors: [
                spec, TensorSpec(name: "patches", type: .float32, shape: prepared.patches.shape),
                TensorSpec(name: "grid_thw", type: .int64, shape: [3]),
            ])
        try fill { try writer.write(name, $0) }
        try put(prepared.patches, "patches", writer)
        let grid = [prepared.grid.time, prepared.grid.height, prepared.grid.width].map(Int64.init)
        try grid.withUnsafeBytes { try writer.write("grid_thw", $0) }
        try writer.finish()
    }

    private func put(_ tensor: Tensor, _ name: String, _ writer: SafetensorsWriter) throws {
        try tensor.withValues {
            try writer.write(name, UnsafeRawBufferPointer(start: $0, count: tensor.count * MemoryLayout<Float>.stride))
        }
    }
}
