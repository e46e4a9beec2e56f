import LyraBase
import Testing

@testable import LyraTraining

/// The cases follow the kinds of toml-test (github.com/toml-lang/toml-test) and the specification's examples.
@Suite struct TOMLTests {
    /// A document as JSON-like text: tables in braces with sorted keys.
    private func text(_ content: TOMLNode.Content) -> String {
        switch content {
        case .string(let text): JSONText.quoted(text)
        case .integer(let number): "\(number)"
        case .float(let number): "\(number)"
        case .boolean(let value): "\(value)"
        case .array(let nodes): "[" + nodes.map { text($0.content) }.joined(separator: ",") + "]"
        case .table(let table): text(table)
        case .tables(let list): "[" + list.tables.map { text($0) }.joined(separator: ",") + "]"
        }
    }

    private func text(_ table: TOMLTable) -> String {
        let members = table.members.sorted { $0.key.utf8.lexicographicallyPrecedes($1.key.utf8) }.map {
            "\($0.key):" + text($0.value.content)
        }
        return "{" + members.joined(separator: ",") + "}"
    }

    private func read(_ toml: String) throws -> String {
        text(try TOMLDocument(Array(toml.utf8), source: "t.toml").root)
    }

    @Test(arguments: [
        ("", "{}"), ("# a comment only\r\n", "{}"), ("\u{FEFF}a = 1", "{a:1}"),
        ("a=1\nb-c_1 = +17\n1 = -0 # x", "{1:0,a:1,b-c_1:17}"),
        ("\"a b\" = 1\n'c\"' = 2\n\"\" = 3\n\"\\u00e9\" = 4", "{:3,a b:1,c\":2,é:4}"),
        ("a . b = 1\na.\"c.d\" = 2\n", "{a:{b:1,c.d:2}}"),
        (
            "a = 0xDEAD_beef\nb = 0o755\nc = 0b1101\nd = 1_000\ne = 9223372036854775807\nf = -9223372036854775808",
            "{a:3735928559,b:493,c:13,d:1000,e:9223372036854775807,f:-9223372036854775808}"
        ),
        (
            "a = 3.14\nb = -0.01\nc = 5e+2\nd = 1E06\ne = 6.626_1e-3_4\nf = inf\ng = -inf\nh = +nan\ni = 0e0",
            "{a:3.14,b:-0.01,c:500.0,d:1000000.0,e:6.6261e-34,f:inf,g:-inf,h:nan,i:0.0}"
        ),
        ("a = true\nb = false", "{a:true,b:false}"),
        (#"a = "\b\t\n\f\r\"\\\u00e9\U0001F600""#, "{a:\"\\u0008\\t\\n\\u000c\\r\\\"\\\\é😀\"}"),
        (#"a = 'C:\n'"#, #"{a:"C:\\n"}"#),
        (
            "a = \"\"\"\r\nx\r\ny\\\n   \n\t z \\\" \"\" \"\"\"\"\"\nb = '''\nq\\''''",
            #"{a:"x\nyz \" \"\" \"\"",b:"q\\'"}"#
        ),
        ("a = [ 1, [\"x\", # c\n 2.5],\n]\nb = []", "{a:[1,[\"x\",2.5]],b:[]}"),
        ("a = { b = 1, c.d = { e = [\n1\n] } }\nf = {}", "{a:{b:1,c:{d:{e:[1]}}},f:{}}"),
        ("[a]\nx = 1\n[ a . \"b\" ]\nx = 2\n[c.d]\n[c]\ny = 3", "{a:{b:{x:2},x:1},c:{d:{},y:3}}"),
        ("[[a]]\nx = 1\n[a.b]\ny = 2\n[[a.c]]\n[[a.c]]\nz = 3\n[[a]]", "{a:[{b:{y:2},c:[{},{z:3}],x:1},{}]}"),
        (
            "a.b.c = 1\na.b.d = 2\na.e = 3\n[a.b.f]\n[g.h]\n[g]\nh2.x = 1",
            "{a:{b:{c:1,d:2,f:{}},e:3},g:{h:{},h2:{x:1}}}"
        ),
        ("\"e\u{301}\" = 1\n\"\u{e9}\" = 2", "{e\u{301}:1,\u{e9}:2}"),
    ])
    func everyFormIsRead(_ toml: String, _ expected: String) throws {
        let got = try read(toml)
        #expect(got.utf8.elementsEqual(expected.utf8), "\(got)")
    }

    private static let malformed: [(toml: String, reason: String)] = [
        // Lines and keys
        ("a = 1 b = 2", "t.toml:1:7: unexpected \"b\""), ("a", "1:2: expected = after the key, not the end"),
        ("a =\nb = 1", "1:4: expected a value"), ("= 1", "1:1: expected a key"), ("a. = 1", "1:4: expected a key"),
        ("a = 1\n\na = 2", "3:1: \"a\" is there twice; the first is on line 1"), ("é = 1", "1:1: expected a key"),
        ("a = 1 # \u{1}", "1:9: a comment has the control character"), ("a = 1\rb = 2", "1:6: unexpected"),
        ("\"\"\"a\"\"\" = 1", "1:3: expected = after the key"),
        // Numbers
        ("a = 01", "\"01\" is not a value: a malformed number"), ("a = 1__0", "\"1__0\""), ("a = _1", "not a value"),
        ("a = 1_", "\"1_\""), ("a = 0x", "\"0x\""), ("a = +0x1", "\"+0x1\""), ("a = 0b2", "\"0b2\""),
        ("a = 1.", "\"1.\""),
        ("a = .5", "\".5\""), ("a = 1.e5", "\"1.e5\""), ("a = 1e", "\"1e\""), ("a = 1e5.0", "\"1e5.0\""),
        ("a = 1_.5", "\"1_.5\""), ("a = 03.5", "\"03.5\""), ("a = Inf", "text needs quotation marks"),
        ("a = 9223372036854775808", "1:5: \"9223372036854775808\" does not fit 64 bits"),
        ("a = 0xFFFFFFFFFFFFFFFF", "does not fit 64 bits"), ("a = 1e400", "does not fit 64 bits"),
        // Dates
        ("a = 1979-05-27", "1:5: \"1979-05-27\" is a date or a time"), ("a = 07:32:00", "is a date or a time"),
        ("a = 1979-05-27T00:32:00.999-07:00", "is a date or a time"),
        ("a = [1979-05-27 07:32:00Z]", "is a date or a time"),
        // Text
        ("a = True", "\"True\" is not a value; text needs quotation marks"), ("a = \"x", "1:5: the text does not end"),
        ("a = \"x\ny\"", "1:5: the text does not end"), ("a = 'x", "the text does not end"),
        ("a = \"\\x\"", "not an escape"),
        ("a = \"\\uD800\"", "no Unicode character"), ("a = \"\\u12\"", "4 hexadecimal digits"),
        ("a = \"\u{7F}\"", "control character"), ("a = \"\"\"x\ny\"\"", "1:5: the text does not end"),
        ("a = '''x", "the text does not end"), ("a = \"\"\"\\ x\"\"\"", "not an escape"),
        ("a = \"\"\"\"\"\"\"\"\"", "1:13: unexpected"),
        // Lists and tables in braces
        ("a = [1 2]", "1:8: expected a comma or ]"), ("a = [1,,2]", "expected a value"), ("a = [", "expected a value"),
        ("a = {b = 1,}", "expected a key"), ("a = {b = 1\n}", "it takes one line"), ("a = {b = 1, b = 2}", "twice"),
        ("a = {b = 1}\na.c = 2", "2:1: \"a\" is a table that is complete"), ("a = {b.c = 1}\n[a.b]", "complete"),
        // Headers
        ("[a]\n[a]", "2:2: \"a\" is there twice"), ("a.b = 1\n[a]", "twice"), ("[a\n", "expected ] after the header"),
        ("[[a]\n", "expected ]] after"), ("[]", "expected a key"), ("[a] b = 1", "1:5: unexpected"),
        ("a = 1\n[a.b]", "\"a\" is an integer that is complete"), ("a = []\n[[a]]", "twice"), ("[a]\n[[a]]", "twice"),
        ("[[a]]\n[a]", "twice"), ("[a.b]\nx = 1\n[a]\nb.y = 2", "a dotted key cannot add"),
        ("[[a.b]]\n[a]\nb.y = 2", "a dotted key cannot add"), ("a = 1\na.b = 2", "a dotted key cannot add"),
    ]

    @Test(arguments: malformed)
    func aTextThatIsNotTOMLIsRefusedWithItsPlace(_ toml: String, _ reason: String) throws {
        let error = #expect(throws: LyraError.self) { try read(toml) }
        #expect(
            error?.message.hasPrefix("t.toml:") == true && error?.message.contains(reason) == true,
            "\(error?.message ?? "")")
    }

    @Test func bytesThatAreNotTextAndDeepNestingAreRefused() throws {
        let invalid = #expect(throws: LyraError.self) {
            try TOMLDocument(Array("a = 1\nb = '".utf8) + [0xFF], source: "t")
        }
        #expect(invalid?.message.contains("t:2: not UTF-8") == true)
        let deep = "a = " + String(repeating: "[", count: 100_000)
        let error = #expect(throws: LyraError.self) { try read(deep) }
        #expect(error?.message.contains("deeper than 64") == true)
        let dotted = #expect(throws: LyraError.self) { try read(String(repeating: "a.", count: 100_000) + "a = 1") }
        #expect(dotted?.message.contains("more than 64 parts") == true)
    }
}
