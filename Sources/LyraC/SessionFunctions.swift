import CLyra
import Glibc
import Lyra

@c @implementation public func lyra_session_options_init_size(
    _ options: UnsafeMutablePointer<lyra_session_options>!, _ size: Int
) -> lyra_status { lyra_session_options.initialize(options, size) }

@c @implementation public func lyra_progress_init_size(
    _ progress: UnsafeMutablePointer<lyra_progress>!, _ size: Int
) -> lyra_status { lyra_progress.initialize(progress, size) }

@c @implementation public func lyra_usage_init_size(
    _ usage: UnsafeMutablePointer<lyra_usage>!, _ size: Int
) -> lyra_status { lyra_usage.initialize(usage, size) }

@c @implementation public func lyra_session_create(
    _ model: OpaquePointer!, _ options: UnsafePointer<lyra_session_options>!,
    _ out: UnsafeMutablePointer<OpaquePointer?>!
) -> lyra_status {
    status {
        let out = try required(out, "out")
        let given = try options.map { try lyra_session_options(from: $0) } ?? lyra_session_options()
        out.pointee = try CallingThread.work {
            let session = try Session(models.object(model), options: sessionOptions(given))
            return try sessions.insert(SessionBox(session))
        }
    }
}

private func sessionOptions(_ given: lyra_session_options) throws -> SessionOptions {
    var options = SessionOptions()
    switch Int(given.sampling) {
    case Int(LYRA_SAMPLING_DEFAULT): break
    case Int(LYRA_SAMPLING_GREEDY): options.sampling = .greedy
    case Int(LYRA_SAMPLING_RANDOM): options.sampling = .random
    default: throw outOfRange("sampling", given.sampling, "a LYRA_SAMPLING_…, 0 to 2")
    }
    // Session.init checks the ranges; 0 is each option's default.
    options.temperature = unlessZero(given.temperature)
    options.topK = unlessZero(Int(given.top_k))
    options.topP = unlessZero(given.top_p)
    options.minP = unlessZero(given.min_p)
    options.repetitionPenalty = unlessZero(given.repetition_penalty)
    options.seed = unlessZero(given.seed)
    options.maxNewTokens = unlessZero(Int(given.max_new_tokens))
    options.maxContextTokens = unlessZero(Int(given.max_context_tokens))
    options.maxImagePixels = unlessZero(Int(given.max_image_pixels))
    options.limitPixels = unlessZero(Int(given.limit_pixels))
    options.limitSeconds = unlessZero(given.limit_seconds)
    options.maxMemoryBytes = unlessZero(Int(given.max_memory_bytes))
    options.extractor = try extractor(given)
    options.keyValueType = try keyValueType(given.kv_type)
    options.skipsSilence = try flag(given.skip_silence, "skip_silence")
    options.speaks = try flag(given.speak, "speak")
    if let adapter = try text(given.adapter, "adapter") { options.adapter = SessionOptions.AdapterChoice(adapter) }
    if let prompt = try text(given.system_prompt, "system_prompt") { options.systemPrompt = prompt }
    return options
}

private func unlessZero<Number: Numeric>(_ value: Number) -> Number? { value == 0 ? nil : value }

func outOfRange(_ name: String, _ value: some Any, _ range: String) -> LyraError {
    LyraError(.argument, "\(name) is \(value); it can be \(range)")
}

/// An option that is 0 or 1.
func flag(_ value: Int32, _ name: String) throws -> Bool {
    guard value == 0 || value == 1 else { throw outOfRange(name, value, "0 or 1") }
    return value == 1
}

private func extractor(_ given: lyra_session_options) throws -> SessionOptions.ExtractorChoice {
    for (name, value) in [("extractor_blocks", given.extractor_blocks), ("extractor_gap", given.extractor_gap)] {
        guard 0...1024 ~= value else { throw outOfRange(name, value, "1 to 1024") }
    }
    guard 0...1 ~= given.extractor_keep else {
        throw outOfRange("extractor_keep", given.extractor_keep, "above 0, at most 1")
    }
    switch Int(given.extractor) {
    case Int(LYRA_EXTRACTOR_DEFAULT): return .checkpoint
    case Int(LYRA_EXTRACTOR_OFF): return .off
    case Int(LYRA_EXTRACTOR_ON):
        guard (given.extractor_blocks == 0) != (given.extractor_gap == 0) else {
            throw LyraError(.argument, "set exactly one of extractor_blocks and extractor_gap")
        }
        guard given.extractor_keep > 0 else {
            throw outOfRange("extractor_keep", given.extractor_keep, "above 0, at most 1")
        }
        return given.extractor_gap == 0
            ? .on(try Extractor(blocks: Int(given.extractor_blocks), keep: given.extractor_keep))
            : .on(try Extractor(gap: Int(given.extractor_gap), keep: given.extractor_keep))
    default: throw outOfRange("extractor", given.extractor, "a LYRA_EXTRACTOR_…, 0 to 2")
    }
}

private func keyValueType(_ type: lyra_kv_type) throws -> KeyValueType {
    switch Int(type) {
    case Int(LYRA_KV_F32): .float32
    case Int(LYRA_KV_F16): .float16
    case Int(LYRA_KV_BF16): .bfloat16
    case Int(LYRA_KV_Q8): .int8
    default: throw outOfRange("kv_type", type, "a LYRA_KV_…, 0 to 3")
    }
}

@c @implementation public func lyra_save(_ session: OpaquePointer!, _ path: UnsafePointer<CChar>!) -> lyra_status {
    with(session) { try $0.save(to: SystemPath.string(cString: required(path, "path"))) }
}

@c @implementation public func lyra_restore(_ session: OpaquePointer!, _ path: UnsafePointer<CChar>!) -> lyra_status {
    with(session) { try $0.restore(from: SystemPath.string(cString: required(path, "path"))) }
}

@c @implementation public func lyra_session_destroy(_ session: OpaquePointer!) -> lyra_status {
    status {
        guard let session else { return }
        // The session stays marked as in use, so that a simultaneous call cannot enter it.
        try CallingThread.work { try sessions.object(session).use { _ in try sessions.remove(session) } }
    }
}

@c @implementation public func lyra_reset(_ session: OpaquePointer!) -> lyra_status {
    with(session) { try $0.reset() }
}

@c @implementation public func lyra_set_system_prompt(
    _ session: OpaquePointer!, _ utf8: UnsafePointer<CChar>!, _ bytes: Int
) -> lyra_status {
    with(session) { session in
        let text = try textBytes(utf8, bytes)
        // Each byte that is not UTF-8 becomes the three bytes of U+FFFD.
        try requireMemory(4 * text.count)
        try session.setSystemPrompt(String(decoding: text, as: UTF8.self))
    }
}

@c @implementation public func lyra_set_speak(_ session: OpaquePointer!, _ speak: Int32) -> lyra_status {
    with(session) { try $0.setSpeaks(speak != 0) }
}

@c @implementation public func lyra_end_turn(_ session: OpaquePointer!) -> lyra_status {
    with(session) { try $0.endTurn() }
}

@c @implementation public func lyra_step(
    _ session: OpaquePointer!, _ events: UnsafeMutablePointer<UInt32>!
) -> lyra_status {
    with(session) { session in
        let events = try required(events, "events")
        let wasRunning = session.isAnswering
        do {
            events.pointee = try session.step().rawValue
        } catch {
            // A failed step ended the turn; a call without a turn did not.
            if wasRunning { events.pointee = UInt32(LYRA_EVENT_END) }
            throw error
        }
    }
}

@c @implementation public func lyra_step_many(
    _ sessions: UnsafePointer<OpaquePointer?>!, _ count: Int, _ events: UnsafeMutablePointer<UInt32>!,
    _ statuses: UnsafeMutablePointer<lyra_status>!
) -> lyra_status {
    status {
        guard count > 0 else { return }
        for index in 0..<count {
            events?[index] = 0
            statuses?[index] = lyra_status(LYRA_OK)
        }
        let (handles, events) = (try required(sessions, "sessions"), try required(events, "events"))
        try requireMemory(count.saturatingMultiplying(by: 64))
        try CallingThread.work {
            let boxes = try (0..<count).map { try LyraC.sessions.object(handles[$0]) }
            try SessionBox.use(boxes) { sessions in
                let wereRunning = sessions.map(\.isAnswering)
                var failures: [(code: LyraError.Code, line: String)] = []
                for (index, outcome) in try Session.step(sessions).enumerated() {
                    switch outcome {
                    case .success(let made): events[index] = made.rawValue
                    case .failure(let error):
                        if wereRunning[index] { events[index] = UInt32(LYRA_EVENT_END) }
                        let known = error as? LyraError ?? LyraError(.format, "\(error)")
                        statuses?[index] = known.code.rawValue
                        failures.append((known.code, "session \(index): \(known.message)"))
                    }
                }
                if let first = failures.first {
                    throw LyraError(first.code, failures.map(\.line).joined(separator: "\n"))
                }
            }
        }
    }
}

@c @implementation public func lyra_stop(_ session: OpaquePointer!) -> lyra_status {
    status { try sessions.object(session).control.stop() }
}

@c @implementation public func lyra_cancel(_ session: OpaquePointer!) -> lyra_status {
    status { try sessions.object(session).control.cancel() }
}
