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
            endRecording()
            intake.add(.text(try GrowingBuffer(copying: text), specialTokens: specialTokens))
        }
    }

    public func feed(text: String, specialTokens: Bool = false) throws {
        try feed(text: text.utf8, specialTokens: specialTokens)
    }

    /// Adds a recording of speech: a file, bytes in memory, a reader, or whatever gives samples.
    ///
    /// - Throws: `LyraError.missing` if the model does not hear.
    public func feed(speech source: any SampleSource) throws {
        try feeding {
            add(.speech(try speechEncoding(source)))
        }
    }

    public func feed(speechFile path: String) throws {
        try feeding {
            _ = try model.checkpoint.speechInput.get()
            try feed(speech: AudioDecoder.open(path: path, limits: mediaLimits, interrupted: isInterrupted))
        }
    }

    /// Adds a recording that `reader` gives the bytes of.
    public func feed(speechReader reader: any ByteReader) throws {
        try feeding {
            _ = try model.checkpoint.speechInput.get()
            try feed(
                speech: AudioDecoder.open(
                    reader: reader, name: "audio from a reader", limits: mediaLimits, interrupted: isInterrupted))
        }
    }

    /// Adds a recording from a file's bytes, which are copied.
    public func feed(speechBytes bytes: UnsafeRawBufferPointer) throws {
        try feeding {
            _ = try model.checkpoint.speechInput.get()
            try feed(
                speech: AudioDecoder.open(
                    reader: MemoryReader(copying: bytes), name: "audio in memory", limits: mediaLimits,
                    interrupted: isInterrupted))
        }
    }

    /// Adds samples of speech. Consecutive calls continue one recording, until `endRecording` or another feed.
    ///
    /// - Parameter samples: interleaved floats in -1…1
    public func feed(pcm samples: UnsafeBufferPointer<Float>, channels: Int, sampleRate: Int) throws {
        try feeding {
            if let openRecording {
                try openRecording.append(samples, sampleRate: sampleRate, channels: channels)
                return
            }
            let queue = try PCMQueue(sampleRate: sampleRate, channels: channels)
            try queue.append(samples, sampleRate: sampleRate, channels: channels)
            intake.add(.speech(try speechEncoding(queue)))
            openRecording = queue
        }
    }

    /// Finishes the recording that `feed(pcm:)` began.
    public func endRecording() {
        openRecording?.finish()
        openRecording = nil
    }

    // MARK: Pictures and videos

    /// Adds a picture.
    ///
    /// - Throws: `LyraError.missing` if the model does not see.
    public func feed(image: RGBImage) throws {
        try feeding {
            let vision = try model.checkpoint.visionInput.get()
            add(
                .vision(VisionEncoding(image, vision, preparation: preparation(vision), interrupted: isInterrupted)))
        }
    }

    /// Adds a picture from a file, which is decoded at once: JPEG, PNG, WebP, GIF, BMP, TIFF.
    ///
    /// - Throws: `LyraError.missing` if the model does not see, `.io`, `.format`, `.memory` over the limit of pixels.
    public func feed(imageFile path: String) throws {
        try feeding {
            _ = try model.checkpoint.visionInput.get()
            let reader = try FileByteReader(path: path, limits: mediaLimits, interrupted: isInterrupted)
            try feed(imageReader: reader, name: path)
        }
    }

    public func feed(imageReader reader: any ByteReader) throws {
        try feed(imageReader: reader, name: "image from a reader")
    }

    /// Adds a picture from a file's bytes, which are not needed afterwards.
    public func feed(imageBytes bytes: UnsafeRawBufferPointer) throws {
        try feed(imageReader: MemoryReader(copying: bytes), name: "image in memory")
    }

    private func feed(imageReader reader: any ByteReader, name: String) throws {
        try feeding {
            _ = try model.checkpoint.visionInput.get()
            try feed(
                image: ImageDecoder.decode(reader: reader, name: name, limits: mediaLimits, interrupted: isInterrupted))
        }
    }

    /// Adds a video from a file, which must stay in place until the turn's end.
    ///
    /// - Throws: `LyraError.missing` if the model does not see, or audio was asked for and there is none; `.io`, `.format`.
    public func feed(videoFile path: String, options: VideoOptions = VideoOptions()) throws {
        try options.check()
        try feeding {
            _ = try model.checkpoint.visionInput.get()
            let reader = try FileByteReader(path: path, limits: mediaLimits, interrupted: isInterrupted)
            try feed(videoReader: reader, name: path, options)
        }
    }

    public func feed(videoReader reader: any ByteReader, options: VideoOptions = VideoOptions()) throws {
        try feed(videoReader: reader, name: "video from a reader", options)
    }

    /// Adds a video from a file's bytes, which are copied.
    public func feed(videoBytes bytes: UnsafeRawBufferPointer, options: VideoOptions = VideoOptions()) throws {
        try feed(videoReader: MemoryReader(copying: bytes), name: "video in memory", options)
    }

    private func feed(videoReader reader: any ByteReader, name: String, _ options: VideoOptions) throws {
        try options.check()
        try feeding {
            let vision = try model.checkpoint.visionInput.get()
            let sampling = try VideoSampling(framesPerSecond: options.framesPerSecond, maxFrames: options.maxFrames)
            let video = try VideoDecoder(reader: reader, name: name, limits: mediaLimits, interrupted: isInterrupted)
            var speech: SpeechEncoding?
            if options.withAudio {
                _ = try model.checkpoint.speechInput.get()
                speech = try speechEncoding(
                    AudioDecoder.open(reader: reader, name: name, limits: mediaLimits, interrupted: isInterrupted))
            }
            add(
                .vision(
                    VisionEncoding(
                        video, vision, preparation: vision.preparation, sampling: sampling,
                        interrupted: isInterrupted)))
            if let speech { intake.add(.speech(speech)) }
        }
    }

    /// Adds a video of frames, all of which are looked at (an odd last one twice).
    ///
    /// - Throws: `LyraError.argument` if there are none; `.missing` if the model does not see.
    public func feed(frames: [RGBImage]) throws {
        try feeding {
            let vision = try model.checkpoint.visionInput.get()
            add(
                .vision(
                    try VisionEncoding(
                        frames, vision, preparation: vision.preparation, interrupted: isInterrupted)))
        }
    }

    /// How pictures are prepared in this session.
    private func preparation(_ vision: VisionInput) -> ImagePreparation {
        vision.preparation.limited(toPixels: options.maxImagePixels)
    }

    // MARK: Sound

    /// Adds sound that is not speech: a file, bytes in memory, a reader, or whatever gives samples.
    ///
    /// - Throws: `LyraError.missing` if the model does not hear sound.
    public func feed(sound source: any SampleSource) throws {
        try feeding {
            let encoding = try SoundEncoding(
                watched(source), model.checkpoint.soundInput.get(),
                limit: options.limitSeconds ?? SoundClips.defaultLimit)
            add(.sound(encoding))
        }
    }

    public func feed(soundFile path: String) throws {
        try feeding {
            _ = try model.checkpoint.soundInput.get()
            try feed(sound: AudioDecoder.open(path: path, limits: mediaLimits, interrupted: isInterrupted))
        }
    }

    public func feed(soundReader reader: any ByteReader) throws {
        try feeding {
            _ = try model.checkpoint.soundInput.get()
            try feed(
                sound: AudioDecoder.open(
                    reader: reader, name: "sound from a reader", limits: mediaLimits, interrupted: isInterrupted))
        }
    }

    /// Adds sound from a file's bytes, which are copied.
    public func feed(soundBytes bytes: UnsafeRawBufferPointer) throws {
        try feeding {
            _ = try model.checkpoint.soundInput.get()
            try feed(
                sound: AudioDecoder.open(
                    reader: MemoryReader(copying: bytes), name: "sound in memory", limits: mediaLimits,
                    interrupted: isInterrupted))
        }
    }

    /// Adds samples of sound; one call is one sound.
    ///
    /// - Parameter samples: interleaved floats in -1…1
    public func feed(soundPCM samples: UnsafeBufferPointer<Float>, channels: Int, sampleRate: Int) throws {
        let queue = try PCMQueue(sampleRate: sampleRate, channels: channels)
        try queue.append(samples, sampleRate: sampleRate, channels: channels)
        queue.finish()
        try feed(sound: queue)
    }

    // MARK: What all have in common

    private func add(_ item: TurnItem) {
        endRecording()
        intake.add(item)
    }

    /// Logs a warning if a recording is silent.
    private func watched(_ source: any SampleSource) -> any SampleSource {
        recordingsFed += 1
        let (log, number) = (model.log, recordingsFed)
        return SilenceWatch(source) { log(.warning, "\(source.name): recording \(number) of the turn \($0)") }
    }

    private func speechEncoding(_ source: any SampleSource) throws -> SpeechEncoding {
        try SpeechEncoding(watched(source), model.checkpoint.speechInput.get(), skipsSilence: options.skipsSilence)
    }

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
