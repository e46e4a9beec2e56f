import LyraBase
@_spi(_Unicode) import Swift

/// Converts a stream of UTF-8 text to Unicode's normalisation form C (UAX #15) in linear time: a counting sort orders
/// the marks after a letter, however many. The result does not depend on how the text is divided into calls.
///
/// Holds back the last letter and its marks. Decompositions of scalars and compositions of pairs come from Swift's
/// tables.
struct Normalizer {
    /// The last scalar of combining class 0; later scalars can compose with it.
    private var starter: UInt32?
    /// The decomposed scalars after `starter`: combining class in the upper 8 bits, scalar in the lower 24.
    private let marks = GrowingBuffer<UInt32>()
    private let sorted = GrowingBuffer<UInt32>()
    private var table = CanonicalTable()

    /// Marks processed between two checks for interruption.
    private static let marksPerCheck = 1 << 16

    /// Appends the normalised text that later text cannot change.
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
            for decomposed in table.decomposition(of: scalar) { try take(decomposed, to: output) }
            position = next
        }
    }

    /// Appends the held-back text and resets the normalizer.
    mutating func finish(to output: GrowingBuffer<UInt8>) throws { try flush(to: output) }

    /// Takes one decomposed scalar with its combining class in the upper 8 bits.
    private mutating func take(_ scalar: UInt32, to output: GrowingBuffer<UInt8>) throws {
        guard scalar >> 24 == 0 else {
            if marks.isEmpty { try decomposeStarter() }
            return try marks.append(scalar)
        }
        try composeMarks()
        if marks.isEmpty, let before = starter, let composed = table.composition(of: before, scalar) {
            starter = composed
            return
        }
        try flush(to: output)
        starter = scalar
    }

    /// Decomposes a composed letter, because later marks can sort before its own.
    private mutating func decomposeStarter() throws {
        guard let whole = starter else { return }
        let scalars = table.decomposition(of: whole)
        guard scalars.dropFirst().allSatisfy({ $0 >> 24 != 0 }), let letter = scalars.first else { return }
        starter = letter
        try marks.append(scalars.dropFirst())
    }

    private mutating func flush(to output: GrowingBuffer<UInt8>) throws {
        try composeMarks()
        if let starter { try Self.write(starter, to: output) }
        for (index, mark) in marks.elements.enumerated() {
            if index % Self.marksPerCheck == Self.marksPerCheck - 1 { try Interruption.check() }
            try Self.write(mark & 0xFF_FFFF, to: output)
        }
        starter = nil
        marks.removeAll(keeping: Self.marksPerCheck)
    }

    /// Sorts the marks and composes the letter with those that it can; the others stay.
    private mutating func composeMarks() throws {
        guard !marks.isEmpty else { return }
        try sortMarks()
        var kept = 0, last: UInt32 = 0
        for index in 0..<marks.count {
            if index % Self.marksPerCheck == 0 { try Interruption.check() }
            let mark = marks[index], kind = mark >> 24
            // A kept mark of the same class blocks the composition.
            if last < kind, let before = starter, let composed = table.composition(of: before, mark & 0xFF_FFFF) {
                starter = composed
                continue
            }
            marks.elements[kept] = mark
            (kept, last) = (kept + 1, kind)
        }
        try marks.resize(to: kept)
    }

    /// Sorts the marks by combining class; a stable sort.
    private func sortMarks() throws {
        let count = marks.count
        var places = [Int](repeating: 0, count: 256)
        var isSorted = true, last: UInt32 = 0
        for index in 0..<count {
            if index % Self.marksPerCheck == 0 { try Interruption.check() }
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
            if index % Self.marksPerCheck == 0 { try Interruption.check() }
            let mark = marks[index], kind = Int(mark >> 24)
            target[places[kind]] = mark
            places[kind] += 1
        }
        _ = marks.elements.update(fromContentsOf: target)
        sorted.removeAll(keeping: Self.marksPerCheck)
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

    /// The last of the consecutive inert scalars from `position` on: its start, its end, and the scalar. Nil if there
    /// is none.
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

    /// Whether NFC leaves a scalar unchanged between any inert neighbours. True only for common Unicode blocks in which
    /// this holds for every scalar; false is always correct, but slower.
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

/// A cache of canonical decompositions and compositions from Swift's tables.
private struct CanonicalTable {
    private var decompositions: [UInt32: [UInt32]] = [:]
    /// 0 for pairs that do not compose.
    private var compositions: [UInt64: UInt32] = [:]
    /// Maximum entries of a table, more than a text of several scripts needs. A full table is cleared.
    private static let limit = 1 << 14

    /// The full decomposition, each scalar with its combining class in the upper 8 bits.
    mutating func decomposition(of value: UInt32) -> [UInt32] {
        if let known = decompositions[value] { return known }
        guard let scalar = Unicode.Scalar(value) else { return [0xFFFD] }
        let scalars = String(scalar)._nfd.map {
            UInt32($0.properties.canonicalCombiningClass.rawValue) << 24 | $0.value
        }
        if decompositions.count >= Self.limit { decompositions.removeAll() }
        decompositions[value] = scalars
        return scalars
    }

    /// The composition of two scalars; nil if they do not compose.
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

    /// Whether a scalar is in a Unicode block whose scalars can compose with a previous scalar.
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
