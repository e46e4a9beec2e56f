import LyraBase
import LyraFormats
import LyraModel
import LyraTensor

/// Saving a conversation to a file and continuing it later, possibly in another process.
///
/// The file holds a JSON header, then the keys and values in the caches' format, layer by layer, then a checksum.
/// Numbers are little-endian:
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

    /// Writes the conversation to a file: the caches, tokens and positions, the adapter, the system prompt and the
    /// random state. The file appears under its name once it is complete.
    ///
    /// A turn that is being fed is saved too if steps have computed all of it, so that a long recording can be
    /// prefilled once and queried many times.
    /// - Throws: `LyraError.state` during an answer or if something that was fed is not computed yet, `.io`.
    public func save(to path: String) throws {
        try requireNoAnswer("saving")
        guard let savedTurn else {
            throw LyraError(
                .state,
                "something that was fed is not computed yet: end the recording and step until there are no events, or "
                    + "finish the turn; text at the end, short recordings and images whose adapter is not fixed, and "
                    + "media under an extractor are computed only when the turn ends")
        }
        let header = Array(try JSONText.encode(SavedSessionHeader(self, turn: savedTurn)).utf8)
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

    /// Replaces this session's conversation with one that `save` wrote. The system prompt and the storage type of keys
    /// and values come from the file; all other options stay. After an error the session is unchanged.
    ///
    /// - Throws: `LyraError.state` during an answer, or if `control` interrupts the reading; `.io`; `.format` for a
    ///   damaged file; `.unsupported` for another version; `.argument` for another model's state; `.memory` over a
    ///   limit of this session. Each message names the file.
    public func restore(from path: String) throws {
        try requireNoAnswer("restoring")
        do {
            let (header, caches, restored) = try interruptibly {
                let file = try Session.open(path)
                let state = try readState(file)
                try Session.checkWhole(file)
                return state
            }
            try adopt(header, caches: caches, options: restored)
        } catch let error as LyraError {
            throw Session.named(error, path)
        }
    }

    /// Runs `body` so that a stop or cancel interrupts it even without a turn in progress.
    private func interruptibly<R>(_ body: () throws -> R) throws -> R {
        let hadTurn = control.current != .idle
        control.begin()
        defer { if !hadTurn { control.end() } }
        return try control.interruption.during(body)
    }

    /// Reads the header and the caches, but not the checksum.
    private func readState(_ file: ChecksummedInput) throws -> (SavedSessionHeader, [KeyValueCache], SessionOptions) {
        let header = try readHeader(file)
        guard let type = KeyValueType(rawValue: header.keyValueType) else {
            throw LyraError(.format, "unknown type \(shown(header.keyValueType)) of keys and values")
        }
        var restored = options
        (restored.systemPrompt, restored.keyValueType) = (header.systemPrompt, type)
        let decoder = model.checkpoint.decoder
        let caches = decoder.makeCaches(type: type)
        // Compare sizes before the session's limits: a file of the wrong size is damaged, whatever the limits are.
        var bytes = 0
        for (index, cache) in caches.enumerated() {
            bytes = bytes.saturatingAdding(
                try cache.pieceBytes(rows: header.lengths[index], quantizedPages: header.narrowPages[index]))
        }
        guard bytes == file.remaining else {
            throw LyraError(
                .format, "it has \(file.remaining) bytes of keys and values, but its header implies \(bytes)")
        }
        try SessionLimits(restored, decoder).check(lengths: header.lengths)
        for (index, cache) in caches.enumerated() {
            try cache.restore(rows: header.lengths[index], quantizedPages: header.narrowPages[index]) {
                try file.read(into: $0)
            }
        }
        return (header, caches, restored)
    }

    private func adopt(_ header: SavedSessionHeader, caches: [KeyValueCache], options: SessionOptions) throws {
        var sampler = options.sampler(model.checkpoint.generationDefaults)
        sampler.random = SplitMix64(seed: header.now.random)
        var now = try header.now.conversation(caches, sampler)
        // A fixed adapter takes precedence over the adapter of the saved conversation.
        if options.adapter != .automatic { now.adapter = try Session.newConversation(model, options).adapter }
        // Everything that can fail comes before the first change.
        let media = try GrowingBuffer(copying: header.media)
        var before = try header.before.conversation(caches, sampler)
        self.options = options
        begin(now, media: media)
        guard let turn = header.turn else { return }
        before.sampler.random = SplitMix64(seed: header.before.random)
        if options.adapter != .automatic { before.adapter = conversation.adapter }
        beginRestoredTurn(
            PromptIntake(
                model.checkpoint, options,
                before: Conversation.Mark(
                    caches: zip(caches, header.lengthsBefore).map { $0.mark(rows: $1) }, conversation: before,
                    tokenCount: header.before.tokens.count),
                saved: turn, promptTokens: header.promptTokens, media: media))
    }

    /// Reports a missing state file as an I/O error; `.missing` is reserved for parts that a model lacks.
    private static func open(_ path: String) throws -> ChecksummedInput {
        do {
            return try ChecksummedInput(path: path)
        } catch let error as LyraError where error.code == .missing {
            throw LyraError(.io, error.message)
        }
    }

    /// The same error with the file's name in front, unless it is there already.
    private static func named(_ error: LyraError, _ path: String) -> LyraError {
        let what =
            error.message.hasPrefix(path + ": ") ? String(error.message.dropFirst(path.count + 2)) : error.message
        return LyraError(
            error.code, "\(path): " + (error.code == .format ? "not a saved session, or a damaged one: " : "") + what)
    }

    /// Reads and checks everything before the keys and values.
    private func readHeader(_ file: ChecksummedInput) throws -> SavedSessionHeader {
        let magic = (Session.magic.reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) })
        guard file.remaining >= Session.magic.count + 12, try file.read(UInt64.self) == magic else {
            throw LyraError(.format, "it does not begin with LYRASTAT")
        }
        let found = try file.read(UInt32.self)
        guard found == Session.version else {
            throw LyraError(
                .unsupported,
                "a saved session of version \(found); this lyra reads version \(Session.version): restore it with the "
                    + "lyra that saved it")
        }
        let size = try file.read(UInt64.self)
        guard size <= UInt64(min(Session.headerLimit, file.remaining)) else {
            throw LyraError(.format, "its header claims \(size) bytes")
        }
        let json = NamedBytes(name: file.path, bytes: try file.read(bytes: Int(size)))
        let checkpoint = model.checkpoint, limits = headerLimits(file)
        let fingerprint = try SavedSessionHeader.fingerprint(json)
        guard fingerprint == checkpoint.fingerprint else {
            try Session.checkWhole(file)
            throw LyraError(
                .argument,
                "saved with another model (its fingerprint is \(shown(fingerprint, limit: 16)), this model's "
                    + "\(checkpoint.fingerprint)); open that model to restore it")
        }
        // Room for copies of the system prompt during parsing.
        try requireMemory(4 * Int(size))
        let header = try SavedSessionHeader(json, limits)
        try header.check(checkpoint)
        return header
    }

    /// - Throws: `LyraError.format` if the checksum differs.
    private static func checkWhole(_ file: ChecksummedInput) throws {
        guard try file.finish() else { throw LyraError(.format, "its checksum does not match") }
    }

    /// Limits for a header's lists, derived from the size of the keys and values in `file`.
    private func headerLimits(_ file: ChecksummedInput) -> SavedSessionHeader.Limits {
        let language = model.checkpoint.configuration.language
        // The smallest type takes one byte for each element of a key and a value.
        let rowBytes = max(2 * language.kvHeads * language.headDim, 1)
        return SavedSessionHeader.Limits(
            layers: model.checkpoint.decoder.layerCount, rowsOfFile: file.remaining / rowBytes,
            rowsOfSession: options.maxContextTokens ?? Int(Int32.max))
    }
}
