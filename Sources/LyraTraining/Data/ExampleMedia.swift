import LyraBase
import LyraMedia
import LyraModel
import LyraTensor

/// Decoding media files to what the encoders take, as a session does.
extension ExampleBuilder {
    /// Packets of a video that are counted between two checks for interruption.
    private static let packetsPerScan = 1024

    func image(_ path: String) throws -> PatchGrid {
        let networks = try checkpoint.visionNetworks.get()
        let decoded = try ImageDecoder.decode(
            reader: FileByteReader(regularFile: path), name: path, limits: options.limits,
            interrupted: { Interruption.isRaised })
        return try preparation(networks).prepare(decoded, interrupted: { Interruption.isRaised })
    }

    func preparation(_ networks: VisionNetworks) -> ImagePreparation {
        networks.preparation.limited(toSide: options.imageSide).limited(toPixels: options.imagePixels)
    }

    func video(_ path: String) throws -> PatchGrid {
        let networks = try checkpoint.visionNetworks.get()
        let video = try openVideo(path)
        while try !video.scan(packets: Self.packetsPerScan) { try Interruption.check() }
        let sampling = try VideoSampling(framesPerSecond: options.framesPerSecond, maxFrames: options.maxFrames)
        let chosen = sampling.indices(frameCount: video.frameCount, frameRate: video.averageFrameRate)
        try video.select(chosen)
        var frames = try VideoFrames(
            networks.preparation, frameSize: PixelSize(width: video.width, height: video.height), frames: chosen.count)
        while let frame = try video.nextFrame() {
            try frames.append(frame, interrupted: { Interruption.isRaised })
        }
        return try frames.finish(interrupted: { Interruption.isRaised })
    }

    func openVideo(_ path: String) throws -> VideoDecoder {
        try VideoDecoder(
            reader: FileByteReader(regularFile: path), name: path, limits: options.limits,
            interrupted: { Interruption.isRaised })
    }

    /// The mel features of each window: [mels, frames]. A recording of n samples has n / window + 1 windows, so the
    /// last can be empty; a recording that is cut at a multiple of the window has no empty one.
    ///
    /// - Parameter count: called for each window; throws to stop
    /// - Returns: also whether the recording is longer than `speechSeconds`
    func speech(_ path: String, count: () throws -> Void) throws -> (windows: [Tensor], isCut: Bool) {
        let networks = try checkpoint.speechNetworks.get()
        let source = try openSound(path)
        if case .exact? = source.length { try checkWindows(expectedWindows(source, networks) ?? 1, path) }
        let stream = try MonoAudioStream(source, sampleRate: networks.sampleRate)
        let limit = samples(options.speechSeconds, rate: networks.sampleRate)
        var windows: [Tensor] = []
        var (isAudible, total, isEnd) = (false, 0, false)
        while !isEnd {
            try count()
            let window = GrowingBuffer<Float>()
            let room = min(networks.windowSamples, limit - total)
            try window.resize(to: room)
            window.truncate(to: try stream.read(into: window, from: 0))
            total += window.count
            isEnd = window.count < networks.windowSamples || total == limit
            if !SilenceWatch.areSilent(window) { isAudible = true }
            windows.append(try networks.mel(window))
            try checkWindows(windows.count + (isEnd ? 0 : 1), path)
        }
        try checkSound(source, isAudible: isAudible, samples: total)
        return (windows, try total == limit && hasMore(stream))
    }

    /// Whether samples follow those that were read, if only damaged ones.
    private func hasMore(_ stream: MonoAudioStream) throws -> Bool {
        let next = GrowingBuffer<Float>()
        try next.resize(to: 1)
        do { return try stream.read(into: next, from: 0) > 0 } catch let error as LyraError
            where [.format, .io].contains(error.code)
        { return true }
    }

    /// The mel features of a recording that fits one window, [mels, frames], and how many of its frames are of the
    /// recording; the others are of the silence after it.
    func window(_ path: String) throws -> (mel: Tensor, frames: Int) {
        let networks = try checkpoint.speechNetworks.get()
        let source = try openSound(path), all = networks.windowSamples
        let limit = samples(options.speechSeconds, rate: networks.sampleRate)
        let samples = GrowingBuffer<Float>()
        // One sample more tells that the recording is longer.
        try samples.resize(to: min(all + 1, limit))
        samples.truncate(
            to: try MonoAudioStream(source, sampleRate: networks.sampleRate).read(into: samples, from: 0))
        guard samples.count <= all else {
            throw LyraError(
                .argument,
                "\(path): the recording is longer than a window of "
                    + "\(Double(all) / Double(networks.sampleRate)) s; cut it, or set media.speech_seconds")
        }
        try checkSound(source, isAudible: !SilenceWatch.areSilent(samples), samples: samples.count)
        let mel = try networks.mel(samples)
        return (mel, min(mel.columns, samples.count * mel.columns / all + 1))
    }

    /// The samples of a recording, mono: at most `limit`.
    func samples(_ path: String, sampleRate: Int, limit: Int) throws -> GrowingBuffer<Float> {
        let source = try openSound(path), samples = GrowingBuffer<Float>()
        try samples.resize(to: limit)
        samples.truncate(to: try MonoAudioStream(source, sampleRate: sampleRate).read(into: samples, from: 0))
        try checkSound(source, isAudible: !SilenceWatch.areSilent(samples), samples: samples.count)
        return samples
    }

    /// The features of each clip: [bands, frames].
    func sound(_ path: String) throws -> [Tensor] {
        _ = try checkpoint.soundNetworks.get()
        var faults: [String] = []
        let source = SilenceWatch(try openSound(path)) { faults.append($0) }
        let clips = try SoundClips(source, limit: options.soundSeconds)
        while try !clips.read() { try Interruption.check() }
        if let fault = faults.first { throw LyraError(.format, "\(path) \(fault)") }
        let features = try clips.features()
        let shape = Array(features.shape.dropFirst())
        return try (0..<features.rows).map { try features.rows($0..<$0 + 1).reshaped(shape) }
    }

    func openSound(_ path: String) throws -> any SampleSource {
        try AudioDecoder.open(
            reader: FileByteReader(regularFile: path), name: path, limits: options.limits,
            interrupted: { Interruption.isRaised })
    }

    /// Windows of a recording, by its header; nil if the header does not tell.
    func expectedWindows(_ source: any SampleSource, _ networks: SpeechNetworks) -> Int? {
        guard let length = source.length?.converted(from: source.sampleRate, to: networks.sampleRate) else {
            return nil
        }
        let all = Int(clamping: length.samples / Int64(networks.windowSamples)).saturatingAdding(1)
        let limit = samples(options.speechSeconds, rate: networks.sampleRate)
        return min(all, (limit - 1) / networks.windowSamples + 1)
    }

    /// At least one sample; `Int.max` for no limit.
    private func samples(_ seconds: Double?, rate: Int) -> Int {
        seconds.map { max(Int(min(($0 * Double(rate)).rounded(), 9e15)), 1) } ?? .max
    }

    private func checkWindows(_ windows: Int, _ path: String) throws {
        guard let limit = options.maxWindows, windows > limit else { return }
        throw LyraError(.memory, "\(path): the recording has more windows than this run allows: \(limit)")
    }

    private func checkSound(_ source: any SampleSource, isAudible: Bool, samples: Int) throws {
        if let omission = source.omissions.first { throw LyraError(.format, "\(source.name) \(omission)") }
        guard !isAudible else { return }
        let fault = samples == 0 ? "has no samples" : "is silent: all its samples are below -60 dB of full scale"
        throw LyraError(.format, "\(source.name) \(fault)")
    }
}
