import LyraBase

/// Tokenizes text in steps of bounded work: reads it, finds added tokens, normalises to NFC, splits into pre-tokens and
/// merges. The tokens do not depend on the steps.
///
/// A zone is a sequence of segments with the same `allowSpecial`. A stretch is the text before an added token or the
/// end of a zone. Memory: some kilobytes, plus the longest sequence of white space or of marks.
public struct TextEncoding {
    private let vocabulary: Vocabulary
    private let segments: [TextSegment]
    /// Approximate number of bytes that a step reads or merges.
    private let stepBytes: Int

    /// The segment in progress, and its first unread byte.
    private var segment = 0
    private var offset = 0
    /// Unread bytes of all segments.
    private var unread: Int
    /// Text read from the zone in progress, repaired to valid UTF-8; from `searched` on not searched for added tokens
    /// yet.
    private var buffer: [UInt8] = []
    private var searched = 0

    private var normalizer = Normalizer()
    /// Text of the stretch in progress in NFC; earlier merged text is dropped.
    private let text = GrowingBuffer<UInt8>()
    /// Merged bytes of `text`.
    private var done = 0
    /// Whether the stretch ends with `text`, and the added token after it.
    private var isStretchEnd = false
    private var following: Int32?

    private var preTokenizer = PreTokenizer()
    private var merger: ByteMerger
    private var longMerger: LongPreTokenMerger
    /// Bytes of the long pre-token in progress, from `done` on; nil while its end is unknown; 0 if there is none.
    private var longPreToken: Int? = 0
    /// Whether the long pre-token needs more text.
    private var isWaiting = false
    public private(set) var isDone = false

    /// - Parameters:
    ///   - step: bytes of a step
    ///   - chunk: maximum bytes that BPE merges at once
    init(_ vocabulary: Vocabulary, _ segments: [TextSegment], step: Int = 1 << 14, chunk: Int = 1 << 12) {
        self.vocabulary = vocabulary
        self.segments = segments
        stepBytes = max(step, AddedTokenTrie.lengthLimit)
        unread = segments.reduce(0) { $0 + $1.count }
        merger = ByteMerger(merges: vocabulary.merges, byteIDs: vocabulary.byteIDs)
        longMerger = LongPreTokenMerger(chunk: max(chunk, 8))
    }

    /// Minimum number of remaining tokens, for limits that are checked during encoding.
    ///
    /// NFC leaves at least a third of a text's bytes.
    public var fewestTokens: Int {
        let longest = max(vocabulary.longestToken, 1)
        return (text.count - done) / longest + (unread + buffer.count - searched) / (3 * longest)
    }

    /// Does one step and appends the settled tokens.
    ///
    /// - Throws: `LyraError.memory`, and `.state` if the work is interrupted; the encoding cannot continue then.
    public mutating func step(into output: GrowingBuffer<Int32>) throws {
        var budget = stepBytes
        while budget > 0, !isDone {
            try Interruption.check()
            try merge(&budget, into: output)
            guard budget > 0 else { return }
            isDone = unread == 0 && searched == buffer.count && isStretchEnd && text.isEmpty && following == nil
            try read(&budget)
        }
    }

    // MARK: Merging

    /// Merges pre-tokens with known ends and the settled bytes of a long one, then appends the added token after the
    /// stretch.
    private mutating func merge(_ budget: inout Int, into output: GrowingBuffer<Int32>) throws {
        while done < text.count, budget > 0 {
            let before = done
            if longPreToken == 0 { try mergePreToken(into: output) } else { try mergeLongPreToken(into: output) }
            budget -= done - before
            if done == before, longPreToken == 0 || isWaiting { break }
        }
        if done == text.count {
            text.removeAll(keeping: 8 * stepBytes)
            done = 0
        } else if done > text.count / 2 {
            text.removeFirst(done)
            done = 0
        }
        guard isStretchEnd, text.isEmpty, let token = following else { return }
        try output.append(token)
        (following, isStretchEnd) = (nil, false)
    }

    /// Merges a pre-token at once, or starts a long one.
    private mutating func mergePreToken(into output: GrowingBuffer<Int32>) throws {
        let rest = UnsafeBufferPointer(rebasing: text.elements[done...])
        isWaiting = false
        if let end = preTokenizer.preTokenEnd(rest, isEnd: isStretchEnd) {
            guard end <= longMerger.chunk else {
                longPreToken = end
                return
            }
            try merger.merge(rest[..<end], into: output)
            done += end
        } else if preTokenizer.isScannedSettled, preTokenizer.scanned >= longMerger.needed {
            longPreToken = nil
        }
    }

    private mutating func mergeLongPreToken(into output: GrowingBuffer<Int32>) throws {
        try Interruption.check()
        let rest = UnsafeBufferPointer(rebasing: text.elements[done...])
        if longPreToken == nil { longPreToken = preTokenizer.preTokenEnd(rest, isEnd: isStretchEnd) }
        let known = longPreToken ?? preTokenizer.scanned
        let preToken = UnsafeBufferPointer(rebasing: rest[..<known])
        let settled = try longMerger.step(preToken, isEnd: longPreToken != nil, &merger, vocabulary, into: output)
        isWaiting = settled == nil
        done += settled ?? 0
        if longPreToken != nil { longPreToken = known - (settled ?? 0) } else { preTokenizer.skip(settled ?? 0) }
    }

    // MARK: Reading

    /// Reads text up to the next added token.
    private mutating func read(_ budget: inout Int) throws {
        guard !isStretchEnd else { return }
        let zoneContinues = fillBuffer()
        let added = vocabulary.added
        let allowsSpecial = segment < segments.count && segments[segment].allowSpecial
        let before = searched
        try buffer.withUnsafeBufferPointer { buffer in
            let bytes = UnsafeBufferPointer(rebasing: buffer[searched...])
            // An added token that begins in the last bytes can end in unread text.
            var end = zoneContinues ? max(bytes.count - AddedTokenTrie.lengthLimit + 1, 0) : bytes.count
            while end > 0, end < bytes.count, bytes[end] & 0xC0 == 0x80 { end -= 1 }
            let match = vocabulary.addedTrie.firstMatch(
                in: bytes, starts: 0..<end, accept: { allowsSpecial || !added[$0].isSpecial })
            if let match {
                following = Int32(truncatingIfNeeded: added[match.token].id)
                isStretchEnd = true
            }
            try normalizer.append(UnsafeBufferPointer(rebasing: bytes[..<(match?.range.lowerBound ?? end)]), to: text)
            searched += match?.range.upperBound ?? end
        }
        budget -= searched - before
        if searched == buffer.count, !zoneContinues, !nextZone() { isStretchEnd = true }
        if isStretchEnd { try normalizer.finish(to: text) }
    }

    /// Fills `buffer` from the zone. → whether the zone has unread text
    private mutating func fillBuffer() -> Bool {
        while segment < segments.count {
            let current = segments[segment]
            if offset < current.count {
                guard buffer.count - searched < 2 * AddedTokenTrie.lengthLimit else { return true }
                buffer.removeFirst(searched)
                searched = 0
                current.withBytes { bytes in
                    let end = Self.cut(bytes, offset + stepBytes)
                    let new = bytes[offset..<end]
                    if new.allSatisfy({ $0 < 0x80 }) {
                        buffer.append(contentsOf: new)
                    } else {
                        buffer.append(contentsOf: String(decoding: new, as: UTF8.self).utf8)
                    }
                    unread -= end - offset
                    offset = end
                }
                continue
            }
            guard segment + 1 < segments.count, segments[segment + 1].allowSpecial == current.allowSpecial else {
                return false
            }
            (segment, offset) = (segment + 1, 0)
        }
        return false
    }

    /// Moves on to the next zone. → whether there is one
    private mutating func nextZone() -> Bool {
        guard segment + 1 < segments.count else { return false }
        (segment, offset) = (segment + 1, 0)
        return true
    }

    /// The last offset up to `end` that cuts no character: before a byte that starts a character, or `end` if none of
    /// four bytes does.
    private static func cut(_ bytes: UnsafeBufferPointer<UInt8>, _ end: Int) -> Int {
        guard end < bytes.count else { return bytes.count }
        return (0..<4).lazy.map { end - $0 }.first { bytes[$0] & 0xC0 != 0x80 } ?? end
    }
}
