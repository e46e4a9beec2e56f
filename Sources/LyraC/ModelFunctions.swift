import CLyra
import Lyra

// Initialized once, before the first read.
nonisolated(unsafe) private let version: UnsafePointer<CChar> = staticString(LYRA_VERSION)

nonisolated(unsafe) private let statusNames: [UnsafePointer<CChar>] = [
    "LYRA_OK", "LYRA_E_ARGUMENT", "LYRA_E_IO", "LYRA_E_FORMAT", "LYRA_E_MISSING", "LYRA_E_UNSUPPORTED", "LYRA_E_MEMORY",
    "LYRA_E_STATE", "LYRA_E_CLOSED", "LYRA_E_UNKNOWN",
].map(staticString)

/// A C string that lives as long as the process.
private func staticString(_ string: String) -> UnsafePointer<CChar> {
    let copy = UnsafeMutableBufferPointer<CChar>.allocate(capacity: string.utf8.count + 1)
    _ = copy.initialize(from: string.utf8.map { CChar(bitPattern: $0) } + [0])
    return UnsafePointer(copy.baseAddress ?? UnsafeMutablePointer<CChar>.allocate(capacity: 1))
}

@c @implementation public func lyra_version() -> UnsafePointer<CChar>! { version }

@c @implementation public func lyra_status_name(_ status: lyra_status) -> UnsafePointer<CChar>! {
    let unknown = statusNames.count - 1
    return statusNames[(0..<unknown).contains(Int(status)) ? Int(status) : unknown]
}

@c @implementation public func lyra_last_error() -> UnsafePointer<CChar>! { LastError.message }

@c @implementation public func lyra_model_options_init_size(
    _ options: UnsafeMutablePointer<lyra_model_options>!, _ size: Int
) -> lyra_status { lyra_model_options.initialize(options, size) }

@c @implementation public func lyra_model_info_init_size(
    _ info: UnsafeMutablePointer<lyra_model_info>!, _ size: Int
) -> lyra_status { lyra_model_info.initialize(info, size) }

@c @implementation public func lyra_model_open(
    _ path: UnsafePointer<CChar>!, _ options: UnsafePointer<lyra_model_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> lyra_status {
    status {
        let out = try required(out, "out")
        let path = try SystemPath.string(cString: required(path, "path"))
        let given = try options.map { try lyra_model_options(from: $0) } ?? lyra_model_options()
        out.pointee = try CallingThread.work {
            try models.insert(Model(path: path, options: modelOptions(given)))
        }
    }
}

/// The caller's context pointer, which is passed to its callbacks on any thread.
private struct CallerPointer: @unchecked Sendable {
    let pointer: UnsafeMutableRawPointer?

    init(_ pointer: UnsafeMutableRawPointer?) { self.pointer = pointer }
}

private func modelOptions(_ given: lyra_model_options) throws -> ModelOptions {
    guard given.threads >= 0 else { throw outOfRange("threads", given.threads, "0 or more") }
    var options = ModelOptions()
    options.towersDirectory = given.towers_dir.map(SystemPath.string(cString:))
    options.vocoder = given.vocoder.map(SystemPath.string(cString:))
    options.soundProjector = given.sound_projector.map(SystemPath.string(cString:))
    switch given.precision {
    case lyra_precision(LYRA_PRECISION_DEFAULT): break
    case lyra_precision(LYRA_PRECISION_EXACT): options.precision = .exact
    case lyra_precision(LYRA_PRECISION_FAST): options.precision = .fast
    default: throw outOfRange("precision", given.precision, "a LYRA_PRECISION_…, 0 to 2")
    }
    options.threads = given.threads > 0 ? Int(given.threads) : nil
    if let log = given.log {
        let user = CallerPointer(given.user)
        options.log = { level, message in
            SystemPath.printable(message).withCString { text in
                CallingThread.call { log(user.pointer, level.rawValue, text) }
            }
        }
    }
    if let progress = given.progress {
        options.progress = { done, total in
            guard CallingThread.call({ progress(given.user, done, total) }) == 0 else {
                throw LyraError(.state, "the progress callback aborted the opening of the model")
            }
        }
    }
    return options
}

@c @implementation public func lyra_model_close(_ model: OpaquePointer!) -> lyra_status {
    status { if let model { try CallingThread.work { try models.remove(model) } } }
}

@c @implementation public func lyra_model_get_info(
    _ model: OpaquePointer!, _ info: UnsafeMutablePointer<lyra_model_info>!
) -> lyra_status {
    status {
        let checkpoint = try models.object(model).checkpoint
        let language = checkpoint.configuration.language
        var result = lyra_model_info()
        let size = checkpoint.totalSize
        (result.parameters, result.weight_bytes) = (Int64(size.parameters), Int64(size.bytes))
        result.layers = Int32(clamping: language.layers)
        result.hidden_size = Int32(clamping: language.hiddenSize)
        result.vocabulary_size = Int32(clamping: language.vocabularySize)
        result.context_length = Int32(clamping: language.contextLength)
        if case .present(let speech) = checkpoint.speechNetworks {
            result.hears_speech = 1
            result.speech_sample_rate = Int32(clamping: speech.sampleRate)
            result.speech_window_samples = Int32(clamping: speech.windowSamples)
            result.speech_window_tokens = Int32(clamping: speech.windowTokens)
        }
        if checkpoint.generator != nil, case .present(let vocoder) = checkpoint.vocoder {
            result.speaks = 1
            result.audio_sample_rate = Int32(clamping: vocoder.sampleRate)
            result.audio_lookahead_samples = Int32(clamping: vocoder.lookaheadSamples)
        }
        if case .present(let vision) = checkpoint.visionNetworks {
            result.sees = 1
            let tower = vision.encoder.configuration
            result.vision_token_pixels = Int32(clamping: tower.patch * tower.merge)
        }
        result.hears_sound = checkpoint.soundNetworks.isPresent ? 1 : 0
        try result.copy(to: required(info, "info"))
    }
}
