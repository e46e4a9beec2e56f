import LyraBase

/// Merges a pre-token that is too long to be merged at once, in overlapping chunks, to the tokens of the whole.
///
/// A sequence of tokens is the BPE of its text exactly if every two neighbouring tokens are the BPE of their joint
/// text: until the first merge across a boundary, both sides merge as they would alone. So if two overlapping chunks
/// have a token in common, the tokens of the whole are those of the first chunk up to that token, and those of the
/// second chunk after it. Chunks have no token in common only if a vocabulary lets text affect merges thousands of
/// bytes before it; then the second chunk's tokens are used.
struct LongPreTokenMerger {
    /// Bytes of one chunk.
    let chunk: Int
    /// Tokens of the last chunk that are not settled, because later text can still change them, and their bytes.
    private var pending = GrowingBuffer<Int32>()
    private var pendingBytes = 0

    init(chunk: Int) { self.chunk = chunk }

    /// Bytes that a step needs, unless the pre-token ends earlier.
    var needed: Int { max(pendingBytes, chunk) + chunk }

    /// Settles tokens: appends those that later text cannot change.
    ///
    /// - Parameters:
    ///   - text: the pre-token's bytes after the settled ones
    ///   - isEnd: whether the pre-token ends with `text`
    /// - Returns: the number of settled bytes, above 0; nil if the step needs more text
    /// - Throws: `LyraError.memory` if there is no room
    mutating func step(
        _ text: UnsafeBufferPointer<UInt8>, isEnd: Bool, _ merger: inout ByteMerger, _ vocabulary: Vocabulary,
        into output: GrowingBuffer<Int32>
    ) throws -> Int? {
        while isEnd || text.count >= needed {
            if pending.isEmpty {
                pendingBytes = min(chunk, text.count)
                try merger.merge(text[..<pendingBytes], into: pending)
            }
            if isEnd, pendingBytes == text.count {
                try output.append(pending.elements)
                (pending, pendingBytes) = (GrowingBuffer(), 0)
                return text.count
            }
            if let settled = try join(text, isEnd: isEnd, &merger, vocabulary, into: output) { return settled }
        }
        return nil
    }

    /// Merges the next chunk and settles the tokens up to the first that both chunks have in common. The next chunk
    /// starts where a token starts, so that both chunks soon agree: a little before the end of the last chunk, or
    /// further back.
    ///
    /// - Returns: the number of settled bytes; nil if the next chunk replaced the last one
    private mutating func join(
        _ text: UnsafeBufferPointer<UInt8>, isEnd: Bool, _ merger: inout ByteMerger, _ vocabulary: Vocabulary,
        into output: GrowingBuffer<Int32>
    ) throws -> Int? {
        let nextEnd = min(pendingBytes + chunk, text.count)
        for overlap in [chunk / 4, pendingBytes / 2, pendingBytes] {
            var (first, start) = (0, 0)
            while first < pending.count {
                let after = start + vocabulary.length(of: pending[first])
                guard after <= pendingBytes - overlap else { break }
                (first, start) = (first + 1, after)
            }
            let next = GrowingBuffer<Int32>()
            try merger.merge(text[start..<nextEnd], into: next)
            let mayBeLast = isEnd && nextEnd == text.count
            if let common = Self.common(pending.elements[first...], next.elements, mayBeLast: mayBeLast, vocabulary) {
                try output.append(pending.elements[...common.left])
                next.removeFirst(common.right + 1)
                pending = next
                pendingBytes = nextEnd - start - common.end
                return start + common.end
            }
            guard start > 0 else {
                (pending, pendingBytes) = (next, nextEnd)
                break
            }
        }
        return nil
    }

    /// The first token that `left` and `right`, which start at the same byte, have at the same place: its indices, and
    /// the offset of its end.
    ///
    /// - Parameter mayBeLast: whether the token may be the last of `right`
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
