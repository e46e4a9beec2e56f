import LyraBase

/// Text on its way to tokens, in steps of bounded work: read, searched for added tokens, brought to NFC, cut into
/// pieces and merged as it comes. However it is cut into steps, the tokens are those of the whole.
///
/// It holds some kilobytes; and of a run of white space, or of marks, all of it.
public struct TextEncoding {
    private let vocabulary: Vocabulary
    private let segments: [TextSegment]
    /// Bytes that a step reads, or merges, about.
    private let stepBytes: Int

    /// The segment that is read, and the first of its bytes that was not.
    private var segment = 0
    private var offset = 0
    /// Bytes of all segments that were not read.
    private var unread: Int
    /// What was read, repaired to UTF-8, of segments that allow the same; from `searched` on it was not searched yet.
    private var window: [UInt8] = []
    private var searched = 0

    private var normalizer = Normalizer()
    /// Text of the stretch in progress, in NFC, from its first byte on that was not merged.
    private let text = GrowingBuffer<UInt8>()
    /// Bytes of `text` that were merged.
    private var done = 0
    /// Whether `text` is all of the stretch, and the added token that follows it.
    private var isStretchEnd = false
    private var following: Int32?

    private var preTokenizer = PreTokenizer()
    private var merger: ByteMerger
    private var longMerger: LongPieceMerger
    /// Bytes of the long piece in progress, from `done` on; nil while its end was not seen. 0: there is none.
    private var longPiece: Int? = 0
    /// Whether the long piece cannot be gone on with before more is read.
    private var isWaiting = false
    public private(set) var isDone = false

    /// - Parameters:
    ///   - step: bytes that a step takes
    ///   - part: bytes that BPE merges at once
    init(_ vocabulary: Vocabulary, _ segments: [TextSegment], step: Int = 1 << 14, part: Int = 1 << 12) {
        self.vocabulary = vocabulary
        self.segments = segments
        stepBytes = max(step, AddedTokenTrie.lengthLimit)
        unread = segments.reduce(0) { $0 + $1.count }
        merger = ByteMerger(merges: vocabulary.merges, byteIDs: vocabulary.byteIDs)
        longMerger = LongPieceMerger(part: max(part, 8))
    }

    /// Tokens that are still to come, at least: for limits that are checked while they come.
    ///
    /// NFC makes a text shorter, to a third at most.
    public var fewestTokens: Int {
        let longest = max(vocabulary.longestToken, 1)
        return (text.count - done) / longest + (unread + window.count - searched) / (3 * longest)
    }

    /// Does one step, and appends the tokens that are settled.
    ///
    /// - Throws: `LyraError.memory`, and `.state` if the work is interrupted; the rest cannot be encoded then.
    public mutating func step(into output: GrowingBuffer<Int32>) throws {
        var budget = stepBytes
        while budget > 0, !isDone {
            try Interruption.check()
            try merge(&budget, into: output)
            guard budget > 0 else { return }
            isDone = unread == 0 && searched == window.count && isStretchEnd && text.isEmpty && following == nil
            try read(&budget)
        }
    }

    // MARK: Merging

    /// Merges pieces whose end is known, and what is settled of a long one, and appends the added token that follows.
    private mutating func merge(_ budget: inout Int, into output: GrowingBuffer<Int32>) throws {
        while done < text.count, budget > 0 {
            let before = done
            if longPiece == 0 { try mergePiece(into: output) } else { try mergeLongPiece(into: output) }
            budget -= done - before
            if done == before, longPiece == 0 || isWaiting { break }
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

    /// A piece that is merged at once, or the begin of one that is not.
    private mutating func mergePiece(into output: GrowingBuffer<Int32>) throws {
        let rest = UnsafeBufferPointer(rebasing: text.elements[done...])
        isWaiting = false
        if let end = preTokenizer.pieceEnd(rest, isEnd: isStretchEnd) {
            guard end <= longMerger.part else {
                longPiece = end
                return
            }
            try merger.merge(rest[..<end], into: output)
            done += end
        } else if preTokenizer.isScannedSettled, preTokenizer.scanned >= longMerger.needed {
            longPiece = nil
        }
    }

    private mutating func mergeLongPiece(into output: GrowingBuffer<Int32>) throws {
        try Interruption.check()
        let rest = UnsafeBufferPointer(rebasing: text.elements[done...])
        if longPiece == nil { longPiece = preTokenizer.pieceEnd(rest, isEnd: isStretchEnd) }
        let known = longPiece ?? preTokenizer.scanned
        let piece = UnsafeBufferPointer(rebasing: rest[..<known])
        let settled = try longMerger.step(piece, isEnd: longPiece != nil, &merger, vocabulary, into: output)
        isWaiting = settled == nil
        done += settled ?? 0
        if longPiece != nil { longPiece = known - (settled ?? 0) } else { preTokenizer.skip(settled ?? 0) }
    }

    // MARK: Reading

    /// Reads on, up to the next added token.
    private mutating func read(_ budget: inout Int) throws {
        guard !isStretchEnd else { return }
        let zoneGoesOn = readWindow()
        let added = vocabulary.added
        let allowsSpecial = segment < segments.count && segments[segment].allowSpecial
        let before = searched
        try window.withUnsafeBufferPointer { window in
            let bytes = UnsafeBufferPointer(rebasing: window[searched...])
            // A token that begins in the last bytes may end in what is not read yet.
            var end = zoneGoesOn ? max(bytes.count - AddedTokenTrie.lengthLimit + 1, 0) : bytes.count
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
        if searched == window.count, !zoneGoesOn, !nextZone() { isStretchEnd = true }
        if isStretchEnd { try normalizer.finish(to: text) }
    }

    /// Fills the window from segments that allow the same. → whether such text is left
    private mutating func readWindow() -> Bool {
        while segment < segments.count {
            let current = segments[segment]
            if offset < current.count {
                guard window.count - searched < 2 * AddedTokenTrie.lengthLimit else { return true }
                window.removeFirst(searched)
                searched = 0
                current.withBytes { bytes in
                    let end = Self.cut(bytes, offset + stepBytes)
                    let part = bytes[offset..<end]
                    if part.allSatisfy({ $0 < 0x80 }) {
                        window.append(contentsOf: part)
                    } else {
                        window.append(contentsOf: String(decoding: part, as: UTF8.self).utf8)
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

    /// Moves on to segments that allow something else. → whether there are any
    private mutating func nextZone() -> Bool {
        guard segment + 1 < segments.count else { return false }
        (segment, offset) = (segment + 1, 0)
        return true
    }

    /// The last place up to `end` where no character is cut: before a byte that begins one, or that follows three which
    /// do not.
    private static func cut(_ bytes: UnsafeBufferPointer<UInt8>, _ end: Int) -> Int {
        guard end < bytes.count else { return bytes.count }
        return (0..<4).lazy.map { end - $0 }.first { bytes[$0] & 0xC0 != 0x80 } ?? end
    }
}
