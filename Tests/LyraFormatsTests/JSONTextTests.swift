import LyraBase
import Testing

/// What the JSON coders promise: the place of an error, exact numbers, one value for each key.
@Suite struct JSONTextTests {
    private struct Everything: Codable, Equatable {
        struct Inner: Codable, Equatable {
            var kind: UInt8
            var note: String?
        }
        var name = "a \"b\" \\ \u{1} ü\n"
        var large = UInt64.max
        var least = Int64.min
        var single: Float = 0.1
        var double = 1e-300
        var flag = true
        var list: [Inner?] = [Inner(kind: 1), nil, Inner(kind: 2, note: "x")]
        var empty: [Int] = []
        var pair: [String: [Double]] = ["k": [1, 2.5]]
    }

    private func decode<T: Decodable>(_ type: T.Type, _ text: String) throws -> T {
        try Array(text.utf8).withUnsafeBytes { try JSONText.decode(type, from: $0, source: "a.json") }
    }

    @Test func encodedValuesAreDecodedExactly() throws {
        let value = Everything()
        #expect(try decode(Everything.self, JSONText.encode(value)) == value)
        #expect(try decode(Everything.self, JSONText.encodeIndented(value)) == value)
    }

    @Test func membersKeepTheirOrder() throws {
        #expect(try JSONText.encode(Everything.Inner(kind: 3, note: "n")) == #"{"kind":3,"note":"n"}"#)
        #expect(
            try JSONText.encodeIndented(Everything.Inner(kind: 3, note: "n"))
                == "{\n  \"kind\": 3,\n  \"note\": \"n\"\n}")
    }

    @Test func valuesThatJSONCannotHoldAreErrors() throws {
        for number in [Double.infinity, -.infinity, .nan] {
            expect(.format, "JSON") { _ = try JSONText.encode(["a": number]) }
        }
    }

    @Test func wholeNumbersMayHaveAPointOrAnExponent() throws {
        #expect(try decode([Int].self, "[3.0, 3e2, -0, 9007199254740993]") == [3, 300, 0, 9_007_199_254_740_993])
        for text in ["[1.5]", "[1e300]", "[9223372036854775808]", "[-129]"] {
            expect(.format, "a.json", "\"[0]\"", "byte 1") { _ = try decode([Int8].self, text) }
        }
    }

    /// A Float is rounded from the decimal digits. Rounded to Double first, this number would become another Float.
    @Test func floatsAreRoundedOnce() throws {
        let text = "1.00000005960464477540"
        #expect(try decode([Float].self, "[\(text)]") == [1.000_000_1])
        #expect(Float(Double(text) ?? 0) == 1)
        expect(.format, "too large") { _ = try decode([Float].self, "[1e39]") }
    }

    @Test func numbersFollowTheGrammarOfJSON() throws {
        for number in ["01", "+1", "1.", ".5", "1e", "-", "0x1", "1e+", "--1", "NaN"] {
            expect(.format, "a.json") { _ = try decode([Double].self, "[\(number)]") }
        }
        for number in ["0", "-0", "10", "0.5", "1E5", "1e-5", "-1.25e+2"] {
            #expect(try decode([Double].self, "[\(number)]") == [Double(number)])
        }
    }

    @Test func aRepeatedKeyIsRefused() throws {
        expect(.format, "a.json", "\"kind\"", "twice") {
            _ = try decode(Everything.Inner.self, #"{"kind": 1, "kind": 2}"#)
        }
    }

    @Test func errorsNameKeysAndByte() throws {
        expect(.format, "a.json", "at \"kind\"", "expected a whole number, but found null", "byte 9") {
            _ = try decode(Everything.Inner.self, #"{"kind": null}"#)
        }
        expect(.format, "a.json", "at \"[1]\"", "\"kind\" is missing", "byte 14") {
            _ = try decode([Everything.Inner].self, #"[{"kind": 1}, {}]"#)
        }
    }

    @Test func aByteOrderMarkIsSkipped() throws {
        #expect(try decode([Int].self, "\u{FEFF}[1]") == [1])
    }
}
