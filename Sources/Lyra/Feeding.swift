import LyraMedia
import LyraModel
import LyraBase

/// Feeding: input becomes the user's turn in the order of the calls.
extension Session {
    /// Adds text in UTF-8.
    ///
    /// - Parameter specialTokens: whether names of special tokens, such as `<|im_end|>`, become those tokens. Leave
    ///   this false for text from users, who could otherwise end their turn and forge the system's.
    /// - Throws: `LyraError.memory` if there is no room.
    public func feed(text: some Sequence<UInt8>, specialTokens: Bool = false) throws {
        try feeding {
            $0.add(.text(try GrowingBuffer(copying: text), specialTokens: specialTokens))
        }
    }

    public func feed(text: String, specialTokens: Bool = false) throws {
        try feed(text: text.utf8, specialTokens: specialTokens)
    }

    /// Adds speech, sound, an image or a video. A source can be fed only once.
    ///
    /// An image is decoded at once. For all other media only the header is read, and `step` decodes the rest.
    ///
    /// - Throws: `LyraError.missing` if the model cannot take this kind of medium, or if a video lacks the requested
    ///   audio; `.argument` if the source cannot be fed as this kind, or if an option is out of range; `.io`,
    ///   `.format`; `.memory` over a limit.
    public func feed(_ medium: MediaInput) throws {
        if case .video(_, let options) = medium { try options.check() }
        try feeding { intake in
            switch medium {
            case .speech(let source): try feed(speech: source, to: intake)
            case .sound(let source):
                let networks = try model.checkpoint.soundNetworks.get()
                let samples = try watched(opener.samples(source, "sound"), intake)
                let limit = options.limitSeconds ?? SoundClips.defaultLimit
                intake.add(.sound(try SoundEncoding(samples, networks, limit: limit)))
            case .image(let source):
                let networks = try model.checkpoint.visionNetworks.get()
                let preparation = networks.preparation.limited(toPixels: options.maxImagePixels)
                intake.add(
                    .vision(
                        VisionEncoding(
                            try opener.image(source), networks, preparation: preparation, interrupted: isInterrupted)))
            case .video(let source, let options): try feed(video: source, options, to: intake)
            }
        }
    }

    private func feed(speech source: MediaSource, to intake: PromptIntake) throws {
        _ = try model.checkpoint.speechNetworks.get()
        guard case .pcm(let piece) = source.content else {
            return intake.add(.speech(try speechEncoding(opener.samples(source, "audio"), for: intake)))
        }
        if let recording = intake.turn.openRecording { return try recording.append(piece) }
        intake.add(.speech(try speechEncoding(piece, queue: piece, for: intake)))
    }

    /// Ends the recording to which samples of speech were fed; further samples start another.
    public func endRecording() { fed?.turn.openRecording?.finish() }

    private func feed(video source: MediaSource, _ options: VideoOptions, to intake: PromptIntake) throws {
        let networks = try model.checkpoint.visionNetworks.get()
        if case .frames(let frames) = source.content {
            return intake.add(
                .vision(
                    try VisionEncoding(frames, networks, preparation: networks.preparation, interrupted: isInterrupted))
            )
        }
        let sampling = try VideoSampling(framesPerSecond: options.framesPerSecond, maxFrames: options.maxFrames)
        let (reader, name) = try opener.bytes(source, "video")
        let video = try VideoDecoder(reader: reader, name: name, limits: mediaLimits, interrupted: isInterrupted)
        var speech: SpeechEncoding?
        if options.withAudio {
            _ = try model.checkpoint.speechNetworks.get()
            speech = try speechEncoding(
                AudioDecoder.open(reader: reader, name: name, limits: mediaLimits, interrupted: isInterrupted),
                for: intake)
        }
        intake.add(
            .vision(
                VisionEncoding(
                    video, networks, preparation: networks.preparation, sampling: sampling, interrupted: isInterrupted))
        )
        if let speech { intake.add(.speech(speech)) }
    }

    // MARK: Shared by all media

    /// Wraps a recording so that a warning is logged if it is silent.
    private func watched(_ source: any SampleSource, _ intake: PromptIntake) -> any SampleSource {
        intake.recordingsFed += 1
        let (log, number) = (model.log, intake.recordingsFed)
        return SilenceWatch(source) { log(.warning, "\(source.name): recording \(number) of the turn \($0)") }
    }

    /// - Parameter queue: receives further samples of the recording; nil for a complete recording
    private func speechEncoding(
        _ source: any SampleSource, queue: PCMQueue? = nil, for intake: PromptIntake
    ) throws -> SpeechEncoding {
        try SpeechEncoding(
            watched(source, intake), model.checkpoint.speechNetworks.get(), skipsSilence: options.skipsSilence,
            queue: queue)
    }

    private var opener: MediaOpener { MediaOpener(limits: mediaLimits, isInterrupted: isInterrupted) }

    /// Whether another thread requested the end of the turn; decoders poll this.
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
