import LyraBase
@_spi(_Unicode) import Swift

/// Brings UTF-8 text to Unicode's normalisation form C (UAX #15) as it comes, in time linear in its length: the marks
/// that follow a letter, however many, are sorted by counting. However the text is cut, the result is the same.
///
/// It holds back the last letter and its marks. Decompositions and compositions are those of Swift's tables, of single
/// scalars and pairs of them.
struct Normalizer {
    /// The last scalar of combining class 0, which what follows may compose with.
    private var starter: UInt32?
    /// What followed it, decomposed: the combining class in the upper 8 bits, the scalar below.
    private let marks = GrowingBuffer<UInt32>()
    private let sorted = GrowingBuffer<UInt32>()
    private var table = CanonicalTable()

    /// Marks between two looks at whether the work is interrupted.
    private static let piece = 1 << 16

    /// Appends what of `text` is settled.
    ///
    /// - Parameter text: valid UTF-8, whole scalars
    /// - Throws: `LyraError.memory`, and `.state` if the work is interrupted.
    mutating func append(_ text: UnsafeBufferPointer<UInt8>, to output: GrowingBuffer<UInt8>) throws {
        var position = 0
        while position < text.count {
            if marks.isEmpty, let inert = Self.inertPrefix(of: text, from: position) {
                try flush(to: output)
                try output.append(text[position..<inert.last])
                (starter, position) = (inert.scalar, inert.end)
                continue
            }
            let (scalar, next) = Self.scalar(of: text, at: position)
            for part in table.decomposition(of: scalar) { try take(part, to: output) }
            position = next
        }
    }

    /// Appends what was held back, and begins anew.
    mutating func finish(to output: GrowingBuffer<UInt8>) throws { try flush(to: output) }

    /// One decomposed scalar, with its combining class.
    private mutating func take(_ part: UInt32, to output: GrowingBuffer<UInt8>) throws {
        guard part >> 24 == 0 else {
            if marks.isEmpty { try decomposeStarter() }
            return try marks.append(part)
        }
        try composeMarks()
        if marks.isEmpty, let before = starter, let composed = table.composition(of: before, part) {
            starter = composed
            return
        }
        try flush(to: output)
        starter = part
    }

    /// A letter that came composed may give away its marks to those that follow.
    private mutating func decomposeStarter() throws {
        guard let whole = starter else { return }
        let parts = table.decomposition(of: whole)
        guard parts.dropFirst().allSatisfy({ $0 >> 24 != 0 }), let letter = parts.first else { return }
        starter = letter
        try marks.append(parts.dropFirst())
    }

    private mutating func flush(to output: GrowingBuffer<UInt8>) throws {
        try composeMarks()
        if let starter { try Self.write(starter, to: output) }
        for (index, mark) in marks.elements.enumerated() {
            if index % Self.piece == Self.piece - 1 { try Interruption.check() }
            try Self.write(mark & 0xFF_FFFF, to: output)
        }
        starter = nil
        marks.removeAll(keeping: Self.piece)
    }

    /// Sorts the marks and lets the letter take those that it composes with; the others stay.
    private mutating func composeMarks() throws {
        guard !marks.isEmpty else { return }
        try sortMarks()
        var kept = 0, last: UInt32 = 0
        for index in 0..<marks.count {
            if index % Self.piece == 0 { try Interruption.check() }
            let mark = marks[index], kind = mark >> 24
            // One of the same class before it, if it stayed, stands in the way.
            if last < kind, let before = starter, let composed = table.composition(of: before, mark & 0xFF_FFFF) {
                starter = composed
                continue
            }
            marks.elements[kept] = mark
            (kept, last) = (kept + 1, kind)
        }
        try marks.resize(to: kept)
    }

    /// By class; those of one class stay in their order.
    private func sortMarks() throws {
        let count = marks.count
        var places = [Int](repeating: 0, count: 256)
        var isSorted = true, last: UInt32 = 0
        for index in 0..<count {
            if index % Self.piece == 0 { try Interruption.check() }
            let kind = marks[index] >> 24
            places[Int(kind)] += 1
            isSorted = isSorted && last <= kind
            last = kind
        }
        guard !isSorted else { return }
        var sum = 0
        for kind in places.indices { (places[kind], sum) = (sum, sum + places[kind]) }
        try sorted.resize(to: count)
        let target = sorted.elements
        for index in 0..<count {
            if index % Self.piece == 0 { try Interruption.check() }
            let mark = marks[index], kind = Int(mark >> 24)
            target[places[kind]] = mark
            places[kind] += 1
        }
        _ = marks.elements.update(fromContentsOf: target)
        sorted.removeAll(keeping: Self.piece)
    }

    // MARK: UTF-8

    private static func scalar(of text: UnsafeBufferPointer<UInt8>, at position: Int) -> (value: UInt32, next: Int) {
        let lead = UInt32(text[position])
        func next(_ offset: Int) -> UInt32 { UInt32(text[position + offset] & 0x3F) }
        if lead < 0x80 { return (lead, position + 1) }
        if lead < 0xE0 { return ((lead & 0x1F) << 6 | next(1), position + 2) }
        if lead < 0xF0 { return ((lead & 0x0F) << 12 | next(1) << 6 | next(2), position + 3) }
        return ((lead & 0x07) << 18 | next(1) << 12 | next(2) << 6 | next(3), position + 4)
    }

    private static func write(_ value: UInt32, to output: GrowingBuffer<UInt8>) throws {
        try output.append(UTF8.encode(Unicode.Scalar(value) ?? "\u{FFFD}") ?? UTF8.encodedReplacementCharacter)
    }

    // MARK: Text that stays as it is

    /// The inert scalars from `position` on: where the last of them begins, where it ends, and itself. Nil if there are
    /// none.
    private static func inertPrefix(
        of text: UnsafeBufferPointer<UInt8>, from position: Int
    ) -> (last: Int, end: Int, scalar: UInt32)? {
        var found: (last: Int, end: Int, scalar: UInt32)?
        var start = position
        while start < text.count {
            let (value, next) = scalar(of: text, at: start)
            guard isInert(value) else { break }
            found = (start, next, value)
            start = next
        }
        return found
    }

    /// Whether NFC leaves a scalar as it is whatever stands around it, unless a neighbour is not inert. True only for
    /// the common blocks in which that holds throughout; false just means that the text is normalised in earnest.
    static func isInert(_ scalar: UInt32) -> Bool {
        switch scalar {
        case 0...0x2FF: true  // Latin
        case 0x388...0x482: true  // Greek, Cyrillic
        case 0x5D0...0x5EA: true  // Hebrew letters
        case 0x61B...0x64A: true  // Arabic letters
        case 0xE01...0xE37: true  // Thai letters
        case 0x2010...0x2027, 0x2030...0x205E: true  // punctuation
        case 0x3000...0x3029, 0x3041...0x3096, 0x309D...0x30FF: true  // CJK punctuation, kana
        case 0x3400...0x4DBF, 0x4E00...0x9FFF: true  // CJK ideographs
        case 0xAC00...0xD7A3: true  // Hangul syllables
        case 0xFF01...0xFF60, 0xFFFD: true  // full-width forms
        default: false
        }
    }
}

/// Canonical decompositions and compositions, each looked up in Swift's tables once.
private struct CanonicalTable {
    private var decompositions: [UInt32: [UInt32]] = [:]
    /// 0: the two do not compose.
    private var compositions: [UInt64: UInt32] = [:]
    /// Entries after which a table begins anew: more than a text of several scripts needs.
    private static let limit = 1 << 14

    /// The full decomposition, each part with its combining class in the upper 8 bits.
    mutating func decomposition(of value: UInt32) -> [UInt32] {
        if let known = decompositions[value] { return known }
        guard let scalar = Unicode.Scalar(value) else { return [0xFFFD] }
        let parts = String(scalar)._nfd.map {
            UInt32($0.properties.canonicalCombiningClass.rawValue) << 24 | $0.value
        }
        if decompositions.count >= Self.limit { decompositions.removeAll() }
        decompositions[value] = parts
        return parts
    }

    /// The scalar that two compose to, the first of them decomposed or itself composed of parts before the second.
    mutating func composition(of first: UInt32, _ second: UInt32) -> UInt32? {
        guard Self.canFollow(second) else { return nil }
        let key = UInt64(first) << 32 | UInt64(second)
        if let known = compositions[key] { return known == 0 ? nil : known }
        var pair = String.UnicodeScalarView()
        for value in [first, second] { pair.append(Unicode.Scalar(value) ?? "\u{FFFD}") }
        let composed = Array(String(pair)._nfc)
        if compositions.count >= Self.limit { compositions.removeAll() }
        compositions[key] = composed.count == 1 ? composed[0].value : 0
        return composed.count == 1 ? composed[0].value : nil
    }

    /// Blocks outside of which no scalar composes with one before it.
    static func canFollow(_ value: UInt32) -> Bool {
        switch value {
        case 0x300...0x36F, 0x590...0x1BFF, 0x3099...0x309A, 0x11000...0x16FFF: true
        default: false
        }
    }
}

extension Normalizer {
    /// See `CanonicalTable.canFollow`.
    static func canFollow(_ value: UInt32) -> Bool { CanonicalTable.canFollow(value) }
}
