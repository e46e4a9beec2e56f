import LyraBase
import LyraModel
import LyraTensor

/// The header of a state file, before the caches.
struct SavedSessionHeader: Encodable {
    /// The part of a conversation that a turn changes, without the caches.
    struct ConversationState: Encodable {
        var nextPosition: Int32 = 0
        var uncomputed: [Int32] = []
        var answerEnded: Bool?
        var adapter: Int?
        var tokens: [Int32] = []
        var random: UInt64 = 0

        func conversation(_ caches: [KeyValueCache], _ sampler: Sampler) throws -> Conversation {
            try Conversation(
                caches: caches, nextPosition: nextPosition, uncomputed: uncomputed, answerEnded: answerEnded,
                adapter: adapter, tokens: GrowingBuffer(copying: tokens), sampler: sampler)
        }
    }

    var fingerprint = ""
    var keyValueType = ""
    var systemPrompt = ""
    /// Rows of each layer's cache.
    var lengths: [Int] = []
    /// Number of leading pages of each cache that are quantized to the cache's type; the remaining pages hold floats.
    /// The name is the file's key.
    var narrowPages: [Int] = []
    var now = ConversationState()
    /// The turn that was being fed; `before` is the state before that turn.
    var turn: Turn.Saved?
    var promptTokens = 0
    var media: [MediaSpan] = []
    var lengthsBefore: [Int] = []
    var before = ConversationState()
}

extension SavedSessionHeader.ConversationState {
    init(_ conversation: Conversation) {
        nextPosition = conversation.nextPosition
        uncomputed = conversation.uncomputed
        answerEnded = conversation.answerEnded
        adapter = conversation.adapter
        tokens = Array(conversation.tokens)
        random = conversation.sampler.random.state
    }
}

extension SavedSessionHeader {
    init(_ session: Session, turn saved: Turn.Saved) {
        let conversation = session.conversation
        fingerprint = session.model.checkpoint.fingerprint
        keyValueType = session.options.keyValueType.rawValue
        systemPrompt = session.systemPrompt
        lengths = conversation.caches.map(\.rows)
        narrowPages = conversation.caches.map(\.quantizedPages)
        now = ConversationState(conversation)
        turn = saved.wasFed ? saved : nil
        promptTokens = session.fed?.promptTokens ?? 0
        media = session.media
        lengthsBefore = session.beforeTurn?.lengths ?? lengths
        before = ConversationState(session.beforeTurn?.conversation ?? conversation)
        // The conversation shares its list of tokens and has grown since the mark.
        if let mark = session.beforeTurn { before.tokens.removeLast(before.tokens.count - mark.tokenCount) }
    }
}

// MARK: - Checking

extension SavedSessionHeader {
    /// Maximum number of tokens that an answer leaves uncomputed: the newest, or the template's end of a turn.
    static let mostUncomputed = 16

    /// Maximum number of text tokens in a conversation of `rows` rows: the last token of an answer counts again in the
    /// next turn.
    static func mostTokens(rows: Int) -> Int { 2 * min(rows, Int(Int32.max)) + mostUncomputed }

    /// Checks the numbers for consistency with each other and with the model, so that no later sum overflows.
    ///
    /// - Throws: `LyraError.format` for impossible numbers.
    func check(_ checkpoint: Checkpoint) throws {
        let layers = checkpoint.decoder.layerCount
        try require(
            lengths.count == layers && lengthsBefore.count == layers && narrowPages.count == layers,
            "it does not list the keys and values of \(layers) layers")
        try require(
            lengths.allSatisfy { 0...Int(Int32.max) ~= $0 }
                && zip(lengthsBefore, lengths).allSatisfy { 0 <= $0 && $0 <= $1 },
            "it lists impossible numbers of keys and values")
        try require(
            isConsistent(now, rows: lengths.first ?? 0, checkpoint),
            "its tokens and positions do not fit its keys and values")
        try require(
            isConsistent(before, rows: lengthsBefore.first ?? 0, checkpoint),
            "the tokens and positions before its last turn do not fit the keys and values before that turn")
        try require(hasConsistentMedia, "its media do not fit its keys and values")
    }

    private func require(_ isConsistent: Bool, _ fault: String) throws {
        guard isConsistent else { throw LyraError(.format, fault + "; save the session again") }
    }

    private func isConsistent(_ state: ConversationState, rows: Int, _ checkpoint: Checkpoint) -> Bool {
        let vocabulary = 0..<Int32(clamping: checkpoint.configuration.language.vocabularySize)
        // Each row has the next position, or shares its position with other rows of a grid.
        return 0...rows ~= Int(state.nextPosition) && state.nextPosition <= Int32.max / 2
            && state.adapter.map { checkpoint.adapters.indices.contains($0) } ?? true
            && state.uncomputed.count <= Self.mostUncomputed
            && state.tokens.count <= Self.mostTokens(rows: rows)
            && state.uncomputed.allSatisfy(vocabulary.contains) && state.tokens.allSatisfy(vocabulary.contains)
    }

    /// Whether the caches have rows for all media.
    private var hasConsistentMedia: Bool {
        let places = 0...Int(Int32.max) / 2
        guard places.contains(promptTokens), turn == nil || promptTokens <= lengths.first ?? 0 else { return false }
        var sum = 0
        for span in media {
            let numbers = [span.first, span.tokens, span.time, span.height, span.width]
            guard numbers.allSatisfy(places.contains), span.tokens > 0, span.start.isFinite, span.seconds.isFinite
            else {
                return false
            }
            sum += span.tokens
            guard sum <= lengths.first ?? 0 else { return false }
        }
        return turn == nil || sum <= promptTokens
    }
}

// MARK: - Reading

extension SavedSessionHeader {
    /// Limits for the numbers and lists of a header, so that a hostile header cannot exhaust time or memory.
    struct Limits {
        let layers: Int
        /// Number of rows in the first layer that the file has bytes for.
        let rowsOfFile: Int
        /// Number of rows that the session has room for.
        let rowsOfSession: Int

        var rows: Int { min(rowsOfFile, rowsOfSession) }
    }

    /// Reads the fingerprint of the model that saved the state, before the other fields are interpreted.
    static func fingerprint(_ json: NamedBytes) throws -> String {
        var fingerprint = ""
        try json.scan { scanner in
            var isMissing = true
            try scanner.object { scanner, key in
                guard key.elementsEqual("fingerprint".utf8) else { return try scanner.skip() }
                fingerprint = try scanner.text(limit: 256)
                isMissing = false
            }
            if isMissing { throw scanner.error("the key fingerprint is missing") }
        }
        return fingerprint
    }

    /// Reads a header. Each list ends at its limit, so that a hostile header costs little more than its own bytes.
    ///
    /// - Throws: `LyraError.format` if `json` is not a header, or lists more than the file can contain; `.memory` if it
    ///   lists more than the session may hold.
    init(_ json: NamedBytes, _ limits: Limits) throws {
        var missing: Set = [
            "fingerprint", "keyValueType", "systemPrompt", "lengths", "narrowPages", "now", "promptTokens", "media",
            "lengthsBefore", "before",
        ]
        try json.scan { scanner in
            try scanner.object { scanner, bytes in
                let key = String(decoding: bytes, as: UTF8.self)
                let isFirst = missing.remove(key) != nil
                guard try read(key, &scanner, limits) == isFirst else {
                    throw scanner.error("the key \(shown(key)) occurs twice")
                }
            }
            if let key = missing.min() { throw scanner.error("the key \(key) is missing") }
        }
    }

    /// Reads the value of one key. → whether the key is required
    private mutating func read(_ key: String, _ scanner: inout JSONScanner, _ limits: Limits) throws -> Bool {
        switch key {
        case "fingerprint": fingerprint = try scanner.text(limit: 256)
        case "keyValueType": keyValueType = try scanner.text(limit: 256)
        case "systemPrompt": systemPrompt = try scanner.text(limit: OptionRange.textBytes.upperBound)
        case "lengths": lengths = try scanner.list(limits.layers) { try $0.integer() }
        case "narrowPages": narrowPages = try scanner.list(limits.layers) { try $0.integer() }
        case "lengthsBefore": lengthsBefore = try scanner.list(limits.layers) { try $0.integer() }
        case "now": now = try ConversationState(&scanner, limits)
        case "before": before = try ConversationState(&scanner, limits)
        case "promptTokens": promptTokens = try scanner.integer()
        case "media": media = try scanner.list(of: limits, limits.rows) { try MediaSpan(&$0) }
        case "turn":
            turn = try scanner.null() ? nil : Turn.Saved(&scanner)
            return false
        default:
            try scanner.skip()
            return false
        }
        return true
    }
}

extension SavedSessionHeader.ConversationState {
    fileprivate init(_ scanner: inout JSONScanner, _ limits: SavedSessionHeader.Limits) throws {
        var missing: Set = ["nextPosition", "uncomputed", "tokens", "random"]
        try scanner.object { scanner, key in
            let key = String(decoding: key, as: UTF8.self)
            missing.remove(key)
            switch key {
            case "nextPosition": nextPosition = try scanner.whole()
            case "uncomputed":
                uncomputed = try scanner.list(SavedSessionHeader.mostUncomputed) { try $0.whole() }
            case "answerEnded": answerEnded = try scanner.null() ? nil : scanner.boolean()
            case "adapter": adapter = try scanner.null() ? nil : scanner.whole()
            case "tokens":
                tokens = try scanner.list(of: limits, SavedSessionHeader.mostTokens(rows: limits.rows)) {
                    try $0.whole()
                }
            case "random": random = try scanner.unsignedInteger()
            default: try scanner.skip()
            }
        }
        if let key = missing.min() { throw scanner.error("the key \(key) is missing") }
    }
}

extension Turn.Saved {
    fileprivate init(_ scanner: inout JSONScanner) throws {
        (isAfterSpeech, wasFed) = (false, false)
        var missing: Set = ["isAfterSpeech", "wasFed"]
        try scanner.object { scanner, key in
            let key = String(decoding: key, as: UTF8.self)
            missing.remove(key)
            switch key {
            case "isAfterSpeech": isAfterSpeech = try scanner.boolean()
            case "wasFed": wasFed = try scanner.boolean()
            default: try scanner.skip()
            }
        }
        if let key = missing.min() { throw scanner.error("the key \(key) is missing") }
    }
}

extension MediaSpan {
    fileprivate init(_ scanner: inout JSONScanner) throws {
        self.init(kind: .speech, first: 0, tokens: 0, time: 0, height: 0, width: 0, start: 0, seconds: 0)
        try scanner.object { scanner, key in
            switch String(decoding: key, as: UTF8.self) {
            case "kind":
                guard let kind = MediaKind(rawValue: try scanner.whole()) else {
                    throw scanner.error("not a kind of media")
                }
                self.kind = kind
            case "first": first = try scanner.whole()
            case "tokens": tokens = try scanner.whole()
            case "time": time = try scanner.whole()
            case "height": height = try scanner.whole()
            case "width": width = try scanner.whole()
            case "start": start = try scanner.real()
            case "seconds": seconds = try scanner.real()
            default: try scanner.skip()
            }
        }
    }
}

extension JSONScanner {
    fileprivate mutating func whole<Number: FixedWidthInteger>() throws -> Number {
        guard let value = Number(exactly: try integer()) else { throw error("the number is too large") }
        return value
    }

    fileprivate mutating func real() throws -> Double {
        let value = try number()
        guard value.isFinite else { throw error("the number is too large") }
        return value
    }

    fileprivate mutating func list<Element>(
        _ limit: Int, _ element: (inout JSONScanner) throws -> Element
    ) throws -> [Element] {
        var list: [Element] = []
        try array { scanner in
            guard list.count < limit else { throw scanner.error("a list is longer than \(limit)") }
            list.append(try element(&scanner))
        }
        return list
    }

    /// A list that grows with the conversation.
    fileprivate mutating func list<Element>(
        of limits: SavedSessionHeader.Limits, _ limit: Int, _ element: (inout JSONScanner) throws -> Element
    ) throws -> [Element] {
        var list: [Element] = []
        try array { scanner in
            guard list.count < limit else {
                guard limits.rowsOfSession < limits.rowsOfFile else {
                    throw scanner.error("a list is longer than the \(limit) that the file has keys and values for")
                }
                throw LyraError(
                    .memory, scanner.error("the conversation has more tokens than the session's limit").message)
            }
            if list.count == list.capacity {
                try requireMemory(2 * (list.count + 1) * MemoryLayout<Element>.stride)
            }
            list.append(try element(&scanner))
        }
        return list
    }
}
