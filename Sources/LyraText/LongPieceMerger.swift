import LyraBase

/// Merges a piece of text that is too long to be merged at once, part by part, to the tokens of the whole.
///
/// A row of tokens is what BPE makes of their joined text exactly if BPE leaves each two neighbours as they are: until
/// the first merge across a joint, what is left and right of it develops as it would alone. So where the tokens of two
/// parts that overlap have one in common, those of the first part up to it, and those of the second after it, are the
/// whole's. Only a vocabulary in which what follows decides on merges some thousands of bytes before it could have none
/// in common; the second part's tokens count then.
struct LongPieceMerger {
    /// Bytes of one part.
    let part: Int
    /// Tokens of what comes next, known from the last part, and their bytes; they are not settled.
    private var ahead = GrowingBuffer<Int32>()
    private var aheadBytes = 0

    init(part: Int) { self.part = part }

    /// Bytes that a step needs unless they end the piece.
    var needed: Int { max(aheadBytes, part) + part }

    /// Settles some of the tokens.
    ///
    /// - Parameters:
    ///   - text: the rest of the piece, from the first byte on that is not settled; after it, the same without what was
    ///     settled
    ///   - isEnd: whether the piece ends with it
    /// - Returns: the bytes whose tokens were appended, above 0; nil if that takes more text
    /// - Throws: `LyraError.memory` if there is no room
    mutating func step(
        _ text: UnsafeBufferPointer<UInt8>, isEnd: Bool, _ merger: inout ByteMerger, _ vocabulary: Vocabulary,
        into output: GrowingBuffer<Int32>
    ) throws -> Int? {
        while isEnd || text.count >= needed {
            if ahead.isEmpty {
                aheadBytes = min(part, text.count)
                try merger.merge(text[..<aheadBytes], into: ahead)
            }
            if isEnd, aheadBytes == text.count {
                try output.append(ahead.elements)
                (ahead, aheadBytes) = (GrowingBuffer(), 0)
                return text.count
            }
            if let settled = try join(text, isEnd: isEnd, &merger, vocabulary, into: output) { return settled }
        }
        return nil
    }

    /// Settles what comes before the next part, which begins where a token does, so that both mostly go on alike: a
    /// little before the end of what is known, or further back.
    ///
    /// - Returns: the bytes that were settled; nil if the next part took the place of what was known
    private mutating func join(
        _ text: UnsafeBufferPointer<UInt8>, isEnd: Bool, _ merger: inout ByteMerger, _ vocabulary: Vocabulary,
        into output: GrowingBuffer<Int32>
    ) throws -> Int? {
        let nextEnd = min(aheadBytes + part, text.count)
        for overlap in [part / 4, aheadBytes / 2, aheadBytes] {
            var (first, start) = (0, 0)
            while first < ahead.count {
                let after = start + vocabulary.length(of: ahead[first])
                guard after <= aheadBytes - overlap else { break }
                (first, start) = (first + 1, after)
            }
            let next = GrowingBuffer<Int32>()
            try merger.merge(text[start..<nextEnd], into: next)
            let mayBeLast = isEnd && nextEnd == text.count
            if let common = Self.common(ahead.elements[first...], next.elements, mayBeLast: mayBeLast, vocabulary) {
                try output.append(ahead.elements[...common.left])
                next.removeFirst(common.right + 1)
                ahead = next
                aheadBytes = nextEnd - start - common.end
                return start + common.end
            }
            guard start > 0 else {
                (ahead, aheadBytes) = (next, nextEnd)
                break
            }
        }
        return nil
    }

    /// The first token of `left` that stands at the same place in `right`, where something follows it: their indices,
    /// and where it ends, counted from where both begin.
    private static func common(
        _ left: Slice<UnsafeMutableBufferPointer<Int32>>, _ right: UnsafeMutableBufferPointer<Int32>, mayBeLast: Bool,
        _ vocabulary: Vocabulary
    ) -> (left: Int, right: Int, end: Int)? {
        var (i, j, leftStart, rightStart) = (left.startIndex, 0, 0, 0)
        let limit = mayBeLast ? right.count : right.count - 1
        while i < left.endIndex, j < limit {
            if leftStart == rightStart, left[i] == right[j] {
                return (i, j, leftStart + vocabulary.length(of: left[i]))
            }
            if leftStart <= rightStart {
                leftStart += vocabulary.length(of: left[i])
                i += 1
            } else {
                rightStart += vocabulary.length(of: right[j])
                j += 1
            }
        }
        return nil
    }
}

extension Vocabulary {
    /// Bytes of a token.
    func length(of id: Int32) -> Int { places[Int(id)].count }
}
