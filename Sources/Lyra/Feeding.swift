import LyraMedia
import LyraModel
import LyraBase

/// Feeding: what is added, in its order, becomes the user's turn.
extension Session {
    /// Adds text, in UTF-8.
    ///
    /// - Parameter specialTokens: whether the names of special tokens, such as `<|im_end|>`, are read as those tokens.
    ///   Leave this false for text that a person typed: it could end the user's turn and speak for the system.
    /// - Throws: `LyraError.memory` if there is no room for it.
    public func feed(text: some Sequence<UInt8>, specialTokens: Bool = false) throws {
        try feeding {
            $0.add(.text(try GrowingBuffer(copying: text), specialTokens: specialTokens))
        }
    }

    public func feed(text: String, specialTokens: Bool = false) throws {
        try feed(text: text.utf8, specialTokens: specialTokens)
    }

    /// Adds a medium: speech, sound, an image or a video, from wherever its data comes. A source is fed once.
    ///
    /// An image is decoded at once; of all else only the header is read, and the rest is decoded step by step.
    ///
    /// - Throws: `LyraError.missing` if the model cannot take the kind of medium, or a video has no audio that was
    /// asked
    ///   for; `.argument` if the source cannot be fed as that kind, or an option is out of its range; `.io`, `.format`;
    ///   `.memory` over a limit.
    public func feed(_ input: MediaInput) throws {
        if case .video(_, let options) = input { try options.check() }
        try feeding { intake in
            switch input {
            case .speech(let source): try feed(speech: source, to: intake)
            case .sound(let source):
                let input = try model.checkpoint.soundInput.get()
                let samples = try watched(opener.samples(source, "sound"), intake)
                let limit = options.limitSeconds ?? SoundClips.defaultLimit
                intake.add(.sound(try SoundEncoding(samples, input, limit: limit)))
            case .image(let source):
                let input = try model.checkpoint.visionInput.get()
                let preparation = input.preparation.limited(toPixels: options.maxImagePixels)
                intake.add(
                    .vision(
                        VisionEncoding(
                            try opener.image(source), input, preparation: preparation, interrupted: isInterrupted)))
            case .video(let source, let options): try feed(video: source, options, to: intake)
            }
        }
    }

    private func feed(speech source: MediaSource, to intake: PromptIntake) throws {
        _ = try model.checkpoint.speechInput.get()
        guard case .pcm(let piece) = source.content else {
            return intake.add(.speech(try speechEncoding(opener.samples(source, "audio"), for: intake)))
        }
        if let recording = intake.turn.openRecording { return try recording.append(piece) }
        intake.add(.speech(try speechEncoding(piece, queue: piece, for: intake)))
    }

    /// Finishes the recording that samples of speech began, so that the next ones begin another.
    public func endRecording() { fed?.turn.openRecording?.finish() }

    private func feed(video source: MediaSource, _ options: VideoOptions, to intake: PromptIntake) throws {
        let input = try model.checkpoint.visionInput.get()
        if case .frames(let frames) = source.content {
            return intake.add(
                .vision(
                    try VisionEncoding(frames, input, preparation: input.preparation, interrupted: isInterrupted)))
        }
        let sampling = try VideoSampling(framesPerSecond: options.framesPerSecond, maxFrames: options.maxFrames)
        let (reader, name) = try opener.bytes(source, "video")
        let video = try VideoDecoder(reader: reader, name: name, limits: mediaLimits, interrupted: isInterrupted)
        var speech: SpeechEncoding?
        if options.withAudio {
            _ = try model.checkpoint.speechInput.get()
            speech = try speechEncoding(
                AudioDecoder.open(reader: reader, name: name, limits: mediaLimits, interrupted: isInterrupted),
                for: intake)
        }
        intake.add(
            .vision(
                VisionEncoding(
                    video, input, preparation: input.preparation, sampling: sampling, interrupted: isInterrupted)))
        if let speech { intake.add(.speech(speech)) }
    }

    // MARK: What all have in common

    /// Logs a warning if a recording is silent.
    private func watched(_ source: any SampleSource, _ intake: PromptIntake) -> any SampleSource {
        intake.recordingsFed += 1
        let (log, number) = (model.log, intake.recordingsFed)
        return SilenceWatch(source) { log(.warning, "\(source.name): recording \(number) of the turn \($0)") }
    }

    /// - Parameter queue: what gives the source its samples, if more can follow
    private func speechEncoding(
        _ source: any SampleSource, queue: PCMQueue? = nil, for intake: PromptIntake
    ) throws -> SpeechEncoding {
        try SpeechEncoding(
            watched(source, intake), model.checkpoint.speechInput.get(), skipsSilence: options.skipsSilence,
            queue: queue)
    }

    private var opener: MediaOpener { MediaOpener(limits: mediaLimits, isInterrupted: isInterrupted) }

    /// Whether another thread asked for the turn to end; decoders look at it.
    private var isInterrupted: () -> Bool {
        let control = control
        return { control.isRequested }
    }

    private var mediaLimits: MediaLimits {
        var limits = MediaLimits()
        if let pixels = options.limitPixels { (limits.imagePixels, limits.videoPixels) = (pixels, pixels) }
        if let seconds = options.limitSeconds { limits.videoSeconds = seconds }
        return limits
    }
}
