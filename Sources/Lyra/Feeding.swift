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

    /// Adds speech, sound, an image or a video.
    ///
    /// An image is decoded at once. For all other media only the header is read, and `step` decodes the rest.
    ///
    /// - Throws: `LyraError.missing` if the model cannot take this kind of medium, or if a video lacks the requested
    ///   audio; `.argument` if the source cannot be fed as this kind, or if an option is out of range; `.io`,
    ///   `.format`; `.memory` over a limit; `.state` during an answer, or if the source was used up by an earlier feed.
    public func feed(_ medium: MediaInput) throws {
        try feeding { intake in
            try medium.source.use(as: medium.word) {
                switch medium {
                case .speech(let source): try feed(speech: source, to: intake)
                case .sound(let source): try feed(sound: source, to: intake)
                case .image(let source): try feed(image: source, to: intake)
                case .video(let source, let options): try feed(video: source, options, to: intake)
                }
            }
        }
    }

    // Each function checks first that the model takes the medium, because a source can copy much memory.

    private func feed(speech source: MediaSource, to intake: PromptIntake) throws {
        let networks = try model.checkpoint.speechNetworks.get()
        let recording = intake.turn.openRecording
        let content = try source.content(firstFrame: recording?.framesFed ?? 0)
        guard case .pcm(let piece) = content else {
            return try add(speech: opener.samples(content, "audio"), networks, to: intake)
        }
        if let recording { return try recording.append(piece) }
        intake.add(
            .speech(
                try SpeechEncoding(
                    open: piece, networks, skipsSilence: options.skipsSilence, report: warning(of: piece, intake))))
    }

    private func add(speech source: any SampleSource, _ networks: SpeechNetworks, to intake: PromptIntake) throws {
        intake.add(
            .speech(
                try SpeechEncoding(
                    source, networks, skipsSilence: options.skipsSilence, report: warning(of: source, intake))))
    }

    /// Ends the recording to which samples of speech were fed; further samples start another.
    public func endRecording() { fed?.turn.openRecording?.finish() }

    private func feed(sound source: MediaSource, to intake: PromptIntake) throws {
        let networks = try model.checkpoint.soundNetworks.get()
        let samples = try opener.samples(source.content(), "sound")
        let limit = options.limitSeconds ?? SoundClips.defaultLimit
        intake.add(
            .sound(
                try SoundEncoding(SilenceWatch(samples, report: warning(of: samples, intake)), networks, limit: limit)))
    }

    private func feed(image source: MediaSource, to intake: PromptIntake) throws {
        let networks = try model.checkpoint.visionNetworks.get()
        let image = try opener.image(source.content())
        let preparation = networks.preparation.limited(toPixels: options.maxImagePixels)
        intake.add(
            .vision(VisionEncoding(image, networks, preparation: preparation, interrupted: isInterrupted)))
    }

    private func feed(video source: MediaSource, _ options: VideoOptions, to intake: PromptIntake) throws {
        try options.check()
        let networks = try model.checkpoint.visionNetworks.get()
        let content = try source.content()
        if case .frames(let frames) = content {
            return intake.add(
                .vision(
                    try VisionEncoding(frames, networks, preparation: networks.preparation, interrupted: isInterrupted))
            )
        }
        let sampling = try VideoSampling(framesPerSecond: options.framesPerSecond, maxFrames: options.maxFrames)
        let (reader, name) = try opener.bytes(content, "video")
        let video = try VideoDecoder(reader: reader, name: name, limits: mediaLimits, interrupted: isInterrupted)
        let speech = options.withAudio ? try model.checkpoint.speechNetworks.get() : nil
        let audio = try speech.map { _ in
            try AudioDecoder.open(reader: reader, name: name, limits: mediaLimits, interrupted: isInterrupted)
        }
        intake.add(
            .vision(
                VisionEncoding(
                    video, networks, preparation: networks.preparation, sampling: sampling, interrupted: isInterrupted))
        )
        if let speech, let audio { try add(speech: audio, speech, to: intake) }
    }

    // MARK: Shared by all media

    /// Counts a recording of the turn. → a function that logs a warning about that recording
    private func warning(of source: any SampleSource, _ intake: PromptIntake) -> (_ fault: String) -> Void {
        intake.recordingsFed += 1
        let (log, name, number) = (model.log, source.name, intake.recordingsFed)
        return { log(.warning, "\(name): recording \(number) of the turn \($0)") }
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
