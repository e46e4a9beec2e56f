import CLyra
import Lyra

@c @implementation public func lyra_read_text(
    _ session: OpaquePointer!, _ buffer: UnsafeMutablePointer<CChar>!, _ capacity: Int,
    _ bytes: UnsafeMutablePointer<Int>!
) -> lyra_status {
    withSmallStack(session) { session in
        let (buffer, bytes) = (try required(buffer, "buffer"), try required(bytes, "bytes"))
        let room = UnsafeMutableRawBufferPointer(start: buffer, count: max(capacity, 0))
        let taken = session.readText(into: room.assumingMemoryBound(to: UInt8.self))
        guard taken > 0 || !session.hasText else {
            throw LyraError(.argument, "the next character does not fit into \(capacity) bytes; 4 always suffice")
        }
        bytes.pointee = taken
    }
}

/// Moves elements directly into a caller's buffer with `read`.
private func copy<Element>(
    _ session: OpaquePointer?, _ buffer: UnsafeMutablePointer<Element>?, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>?, _ read: (Session, UnsafeMutableBufferPointer<Element>) -> Int
) -> lyra_status {
    withSmallStack(session) { session in
        let (buffer, count) = (try required(buffer, "buffer"), try required(count, "the count"))
        guard capacity >= 0 else { throw LyraError(.argument, "a buffer's capacity cannot be \(capacity)") }
        count.pointee = read(session, UnsafeMutableBufferPointer(start: buffer, count: capacity))
    }
}

@c @implementation public func lyra_read_audio(
    _ session: OpaquePointer!, _ buffer: UnsafeMutablePointer<Float>!, _ capacity: Int,
    _ samples: UnsafeMutablePointer<Int>!
) -> lyra_status { copy(session, buffer, capacity, samples) { $0.readAudio(into: $1) } }

@c @implementation public func lyra_read_tokens(
    _ session: OpaquePointer!, _ buffer: UnsafeMutablePointer<Int32>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> lyra_status { copy(session, buffer, capacity, count) { $0.readTokens(into: $1) } }

@c @implementation public func lyra_read_units(
    _ session: OpaquePointer!, _ buffer: UnsafeMutablePointer<Int32>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> lyra_status { copy(session, buffer, capacity, count) { $0.readUnits(into: $1) } }

@c @implementation public func lyra_get_progress(
    _ session: OpaquePointer!, _ progress: UnsafeMutablePointer<lyra_progress>!
) -> lyra_status {
    withSmallStack(session) { session in
        var result = lyra_progress()
        result.phase = session.progress.phase.rawValue
        result.done = Int64(session.progress.done)
        result.total = Int64(session.progress.total)
        try result.copy(to: required(progress, "progress"))
    }
}

@c @implementation public func lyra_get_usage(
    _ session: OpaquePointer!, _ usage: UnsafeMutablePointer<lyra_usage>!
) -> lyra_status {
    withSmallStack(session) { session in
        let spent = session.usage
        var result = lyra_usage()
        result.stop = spent.stop.rawValue
        result.prompt_tokens = Int64(spent.promptTokens)
        result.media_tokens = Int64(spent.mediaTokens)
        result.cached_tokens = Int64(spent.cachedTokens)
        result.generated_tokens = Int64(spent.generatedTokens)
        result.units = Int64(spent.units)
        result.audio_samples = Int64(spent.audioSamples)
        result.encode_ms = spent.timings.encode
        result.prefill_ms = spent.timings.prefill
        result.decode_ms = spent.timings.decode
        result.speech_ms = spent.timings.speech
        result.first_token_ms = spent.timings.firstToken
        result.first_audio_ms = spent.timings.firstAudio
        result.total_ms = spent.timings.total
        withUnsafeMutableBytes(of: &result.adapter) { name in
            name.copyBytes(from: (spent.adapter ?? "none").utf8.prefix(name.count - 1))
        }
        result.extractor_blocks = Int32(clamping: spent.keptPerBlock.count)
        result.cache_bytes = Int64(spent.cacheBytes)
        try result.copy(to: required(usage, "usage"))
    }
}

@c @implementation public func lyra_media_init_size(
    _ media: UnsafeMutablePointer<lyra_media>!, _ size: Int
) -> lyra_status { lyra_media.initialize(media, size) }

@c @implementation public func lyra_get_media(
    _ session: OpaquePointer!, _ index: Int32, _ media: UnsafeMutablePointer<lyra_media>!
) -> lyra_status {
    withSmallStack(session) { session in
        guard (0..<session.mediaCount).contains(Int(index)) else {
            throw LyraError(.argument, "there is no medium \(index): the turn has \(session.mediaCount) media")
        }
        let span = session.medium(Int(index))
        var result = lyra_media()
        result.kind = span.kind.rawValue
        (result.first, result.tokens) = (Int64(span.first), Int64(span.tokens))
        (result.time, result.height) = (Int32(clamping: span.time), Int32(clamping: span.height))
        result.width = Int32(clamping: span.width)
        (result.start, result.seconds) = (span.start, span.seconds)
        try result.copy(to: required(media, "media"))
    }
}

@c @implementation public func lyra_get_kept(
    _ session: OpaquePointer!, _ block: Int32, _ tokens: UnsafeMutablePointer<Int32>!, _ capacity: Int,
    _ count: UnsafeMutablePointer<Int>!
) -> lyra_status {
    withSmallStack(session) { session in
        let count = try required(count, "the count")
        guard (0..<session.keptBlocks).contains(Int(block)) else {
            throw LyraError(.argument, "there is no block \(block): the extractor had \(session.keptBlocks) blocks")
        }
        try session.withKept(block: Int(block)) { kept in
            if capacity >= kept.count, let base = kept.baseAddress, !kept.isEmpty {
                try required(tokens, "tokens").update(from: base, count: kept.count)
            }
            count.pointee = kept.count
        }
    }
}
