import LyraFormats
import LyraModel
import LyraTensor

/// Saving a conversation to a file and going on with it later, in this process or another.
///
/// The file is a header of JSON, then keys and values as they lie in the caches, layer by layer, then a checksum of all
/// that. Numbers are little-endian:
///
///     8 bytes  "LYRASTAT"
///     4 bytes  version
///     8 bytes  n, the bytes of the header
///     n bytes  the header
///     …        keys and values
///     4 bytes  CRC-32 of everything before
extension Session {
    private static let magic: [UInt8] = Array("LYRASTAT".utf8)
    private static let version: UInt32 = 3
    private static let headerLimit = 256 << 20

    /// Writes the conversation to a file: what is in the caches, where the next token stands, the adapter, and the random
    /// state. The file appears under its name when it is complete.
    ///
    /// What was fed of a turn is kept too if steps have computed all of it, so that a long recording can be prefilled once and
    /// asked many times.
    /// - Throws: `LyraError.state` while an answer is being made or something that was fed is not computed yet, `.io`.
    public func save(to path: String) throws {
        guard !isAnswering else { throw LyraError(.state, "an answer is being made; step to its end before saving") }
        obeyRequestWhileFed()
        guard openRecording == nil, let rest = intake.rest else {
            throw LyraError(
                .state,
                "something that was fed is not computed yet: end the recording and step until there are no events, or finish "
                    + "the turn; text, short recordings whose adapter is not fixed, and media under an extractor are "
                    + "computed only when the turn ends")
        }
        let header = try JSONFile.encode(StateHeader(self, rest: rest))
        let file = try ChecksummedOutput(path: path)
        try file.write(Session.magic)
        try file.write(integer: Session.version)
        try file.write(integer: UInt64(header.count))
        try file.write(header)
        try control.interruption.during {
            for cache in conversation.caches { try cache.forEachPiece { try file.write($0) } }
        }
        try file.commit()
    }

    /// Goes on with a conversation that `save` wrote, in place of this session's. Options stay as they are, but for the
    /// system prompt and the type of keys and values, which are the file's. After an error the session is as it was.
    ///
    /// - Throws: `LyraError.state` while an answer is being made, `.io`, `.format` for a damaged file, `.unsupported` for
    ///   another version's, `.argument` for one of another model, `.memory` over a limit of this session.
    public func restore(from path: String) throws {
        guard !isAnswering else { throw LyraError(.state, "an answer is being made; step to its end before restoring") }
        let file = try Session.open(path)
        let (header, body) = try Session.readHeader(file)
        let decoder = model.checkpoint.decoder
        try header.check(model, path: path)
        guard let type = KeyValueType(rawValue: header.keyValueType) else {
            throw LyraError(.unsupported, "\(path): keys and values of type \(header.keyValueType) are not known")
        }
        var restored = options
        (restored.systemPrompt, restored.keyValueType) = (header.systemPrompt, type)
        let caches = decoder.makeCaches(type: type)
        try SessionLimits(restored, decoder).check(lengths: header.lengths)
        var rest = body
        for (index, cache) in caches.enumerated() {
            try cache.restore(rows: header.lengths[index], narrowPages: header.narrowPages[index]) { piece in
                guard rest.count >= piece.count else { throw Session.damaged(path, "it ends too early") }
                piece.copyMemory(from: UnsafeRawBufferPointer(rebasing: rest[..<(rest.startIndex + piece.count)]))
                rest = UnsafeRawBufferPointer(rebasing: rest[(rest.startIndex + piece.count)...])
            }
        }
        guard rest.isEmpty else { throw Session.damaged(path, "\(rest.count) bytes too many") }
        try adopt(header, caches: caches, options: restored)
    }

    private func adopt(_ header: StateHeader, caches: [KeyValueCache], options: SessionOptions) throws {
        var sampler = options.sampler(model.checkpoint.generationDefaults)
        sampler.random = SplitMix64(seed: header.now.random)
        var now = try header.now.conversation(caches, sampler)
        // A fixed adapter stays, whatever the file's conversation went with.
        if options.adapter != .automatic { now.adapter = try Session.newConversation(model, options).adapter }
        self.options = options
        begin(now)
        systemPrompt = header.systemPrompt
        mediaSpans = try GrowingBuffer(copying: header.media)
        guard let turn = header.turn else { return }
        var before = try header.before.conversation(caches, sampler)
        before.sampler.random = SplitMix64(seed: header.before.random)
        if options.adapter != .automatic { before.adapter = conversation.adapter }
        beginRestoredTurn(
            PromptIntake(model.checkpoint, options, rest: turn, promptTokens: header.promptTokens, media: mediaSpans),
            before: Conversation.Mark(
                caches: zip(caches, header.lengthsBefore).map { $0.mark(rows: $1) }, rest: before,
                tokenCount: header.before.tokens.count))
    }

    /// A state that is not there is a file that cannot be opened, not a part that the model lacks.
    private static func open(_ path: String) throws -> MappedFile {
        do {
            return try MappedFile(path: path)
        } catch let error as LyraError where error.code == .missing {
            throw LyraError(.io, error.message)
        }
    }

    private static func damaged(_ path: String, _ what: String) -> LyraError {
        LyraError(.format, "\(path): this state file is damaged: \(what)")
    }

    /// Checks the frame and the checksum. → the header and the bytes after it
    private static func readHeader(_ file: MappedFile) throws -> (StateHeader, UnsafeRawBufferPointer) {
        let (path, bytes) = (file.path, file.bytes)
        let fixed = magic.count + 12
        guard bytes.count >= fixed + 4, bytes[..<magic.count].elementsEqual(magic) else {
            throw LyraError(.format, "\(path): not a saved session")
        }
        let found = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: magic.count, as: UInt32.self))
        guard found == version else {
            throw LyraError(.unsupported, "\(path): a saved session of version \(found); this lyra reads \(version)")
        }
        let size = UInt64(littleEndian: bytes.loadUnaligned(fromByteOffset: magic.count + 4, as: UInt64.self))
        guard size <= UInt64(min(headerLimit, bytes.count - fixed - 4)) else {
            throw damaged(path, "its header claims \(size) bytes")
        }
        let content = UnsafeRawBufferPointer(rebasing: bytes[..<(bytes.count - 4)])
        let stored = UInt32(littleEndian: bytes.loadUnaligned(fromByteOffset: bytes.count - 4, as: UInt32.self))
        guard CRC32.checksum(content) == stored else { throw damaged(path, "its checksum does not fit") }
        let end = fixed + Int(size)
        let header: StateHeader = try JSONFile.decode(
            StateHeader.self, from: UnsafeRawBufferPointer(rebasing: content[fixed..<end]), source: path)
        return (header, UnsafeRawBufferPointer(rebasing: content[end...]))
    }
}

/// What a state file says before the caches.
struct StateHeader: Codable {
    /// What a turn changes, but for the caches.
    struct Standing: Codable {
        var nextPosition: Int32
        var uncomputed: [Int32]
        var answerEnded: Bool?
        var adapter: Int?
        var tokens: [Int32]
        var random: UInt64

        init(_ conversation: Conversation) {
            nextPosition = conversation.nextPosition
            uncomputed = conversation.uncomputed
            answerEnded = conversation.answerEnded
            adapter = conversation.adapter
            tokens = Array(conversation.tokens.elements)
            random = conversation.sampler.random.state
        }

        func conversation(_ caches: [KeyValueCache], _ sampler: Sampler) throws -> Conversation {
            try Conversation(
                caches: caches, nextPosition: nextPosition, uncomputed: uncomputed, answerEnded: answerEnded,
                adapter: adapter, tokens: GrowingBuffer(copying: tokens), sampler: sampler)
        }
    }

    var fingerprint: String
    var keyValueType: String
    var systemPrompt: String
    /// Rows of each layer's cache.
    var lengths: [Int]
    /// Pages of each cache that hold its type; the rest holds floats.
    var narrowPages: [Int]
    var now: Standing
    /// The turn that was being fed, and how all stood before it.
    var turn: Turn.Rest?
    var promptTokens: Int
    var media: [MediaSpan]
    var lengthsBefore: [Int]
    var before: Standing

    init(_ session: Session, rest: Turn.Rest) {
        let conversation = session.conversation
        fingerprint = session.model.checkpoint.fingerprint
        keyValueType = session.options.keyValueType.rawValue
        systemPrompt = session.systemPrompt
        lengths = conversation.caches.map(\.rows)
        narrowPages = conversation.caches.map(\.narrowPages)
        now = Standing(conversation)
        turn = rest.wasFed ? rest : nil
        promptTokens = session.intake.promptTokens
        media = rest.wasFed ? Array(session.intake.media.elements) : session.media
        lengthsBefore = session.beforeTurn?.lengths ?? lengths
        before = Standing(session.beforeTurn?.rest ?? conversation)
    }

    /// Whether the media lie in a prompt that can be; sums of these numbers cannot overflow then.
    private var hasSoundMedia: Bool {
        let places = 0...Int(Int32.max) / 2
        guard places.contains(promptTokens), media.count <= places.upperBound else { return false }
        var sum = 0
        for span in media {
            let numbers = [span.first, span.tokens, span.time, span.height, span.width]
            guard numbers.allSatisfy(places.contains), span.start.isFinite, span.seconds.isFinite else { return false }
            sum += span.tokens
            guard places.contains(sum) else { return false }
        }
        return turn == nil || sum <= promptTokens
    }

    /// - Throws: `LyraError.argument` for another model's, `.format` for numbers that cannot be.
    func check(_ model: Model, path: String) throws {
        let checkpoint = model.checkpoint
        guard fingerprint == checkpoint.fingerprint else {
            throw LyraError(
                .argument,
                "\(path): saved with another model (its fingerprint is \(fingerprint.prefix(16)), this model's "
                    + "\(checkpoint.fingerprint))")
        }
        let vocabulary = Int32(clamping: checkpoint.configuration.language.vocabularySize)
        let layers = checkpoint.decoder.layerCount
        let isSound =
            lengths.count == layers && lengthsBefore.count == layers && narrowPages.count == layers
            && lengths.allSatisfy { (0...Int(Int32.max)).contains($0) }
            && zip(lengthsBefore, lengths).allSatisfy { 0 <= $0 && $0 <= $1 }
            && [now, before].allSatisfy { standing in
                standing.nextPosition >= 0 && standing.nextPosition <= Int32.max / 2
                    && standing.adapter.map { checkpoint.adapters.indices.contains($0) } ?? true
                    && (standing.tokens + standing.uncomputed).allSatisfy { (0..<vocabulary).contains($0) }
            }
        guard isSound, hasSoundMedia else {
            throw LyraError(.format, "\(path): this state file is damaged: its numbers cannot be")
        }
    }
}
