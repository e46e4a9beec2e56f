import LyraBase
import LyraDatasets
import Testing

@Suite struct DatasetTests {
    private static let first = """
        {"id": "a", "conversations": [{"from": "human", "value": "one [ } \\" \\\\"}, {"from": "gpt", "value": "1"}]}
        """
    private static let second = """
        {
          "conversations": [{"from": "human", "value": "two"}]
        }
        """

    private func all(_ file: TemporaryFile) throws -> [Result<DatasetItem, LyraError>] {
        let reader = try DatasetReader(path: file.path)
        var items: [Result<DatasetItem, LyraError>] = []
        while let next = try reader.next() { items.append(next) }
        return items
    }

    @Test func aListAndLinesHaveTheSameItemsWithTheirLines() throws {
        let list = try TemporaryFile("\u{FEFF}[\n\(Self.first),\n\n\(Self.second)]\n")
        let lines = try TemporaryFile(
            Self.first + "\r\n\n  " + Self.second.replacing("\n", with: " ") + "\n \n")
        for file in [list, lines] {
            let items = try all(file).map { try $0.get() }
            #expect(items.map(\.id) == ["a", "2"])
            #expect(items.map(\.index) == [0, 1])
            #expect(items.map(\.line) == (file === list ? [2, 4] : [1, 3]))
            #expect(items[0].turns[0].text == "one [ } \" \\")
            #expect(items[0].answer == "1" && items[1].answer == nil)
            #expect(items[1].place == "\(file.path), line \(items[1].line), item 2")
            let indexed = try IndexedDataset(path: file.path)
            #expect(indexed.count == 2)
            #expect(try [1, 0, 1].map { try indexed.item(at: $0) } == [items[1], items[0], items[1]])
            #expect(lyraError { _ = try indexed.item(at: 2) }.code == .argument)
        }
    }

    /// Items longer than the 64 KiB that are read at once, and none at its edges.
    @Test func itemsOfAnySizeAreFoundInOnePass() throws {
        let lengths = [0, 1, 65_400, 65_535, 65_536, 200_000, 3]
        let objects = lengths.map { length in
            #"{"conversations": [{"from": "human", "value": "\#(String(repeating: "ä\\n", count: length / 4))"}]}"#
        }
        for text in ["[" + objects.joined(separator: ",") + "]", objects.joined(separator: "\n")] {
            let file = try TemporaryFile(text)
            let indexed = try IndexedDataset(path: file.path)
            #expect(indexed.count == lengths.count)
            for (index, length) in lengths.enumerated() {
                #expect(try indexed.item(at: index).turns[0].text.unicodeScalars.count == length / 4 * 2)
            }
        }
    }

    @Test func allKeysAreRead() throws {
        let file = try TemporaryFile(
            """
            {"id": 17, "image": "x/a.jpg", "speech": ["b.wav", "/c.wav"], "speech_asr": ["b", "c"], \
            "tgt_unit": "<12><7> <0>", "answers": ["yes", {"answer": "no", "answer_id": 2}], "category": "color", \
            "unknown": {"a": [1]}, "video": null, "conversations": [{"from": "system", "value": "Be brief."}, \
            {"from": "human", "value": "q"}, {"from": "gpt", "value": "a"}]}
            {"long_speech": "l.wav", "answer": "x", "kind": "k", "tgt_units": [3, 4], "tgt_speech": "t.wav", \
            "conversations": [{"from": "user", "value": "q"}, {"from": "assistant", "value": ""}]}
            """)
        let folders = MediaFolders(pictures: "/p", recordings: nil)
        let indexed = try IndexedDataset(path: file.path, folders: folders)
        let item = try indexed.item(at: 0)
        #expect(item.id == "17" && item.system == "Be brief." && item.kind == "color")
        #expect(item.images == ["/p/x/a.jpg"] && item.videos.isEmpty)
        #expect(item.speech == [file.folder + "/b.wav", "/c.wav"])
        #expect(item.transcripts == ["b", "c"] && item.transcript == "b c")
        #expect(item.units == [12, 7, 0] && item.answers == ["yes", "no"] && item.mediaCount == 3)
        let other = try indexed.item(at: 1)
        #expect(other.targetSpeech == [file.folder + "/t.wav"] && other.mediaCount == 1)
        #expect(other.longSpeech == [file.folder + "/l.wav"] && other.transcript == nil)
        #expect(other.answers == ["x"] && other.kind == "k" && other.units == [3, 4] && other.answer == "")
    }

    @Test(arguments: [
        (#"{"conversations": [], "#, "}", "no turn"),
        (#"{"conversations": [{"from": "gpt", "value": "a"}]"#, "}", "no turn"),
        (#"{"conversations": 3"#, "}", "expected a list"),
        (#"{"conversations": [{"from": "human"}]"#, "}", "value"),
        (#"{"conversations": [{"from": "bot", "value": ""}]"#, "}", "conversations[0].from"),
        (#"{"conversations": [{"from": "human", "value": ""}, {"from": "human", "value": ""}]"#, "}", "alternate"),
        (#"{"image": 3, "#, Self.rest, "a string or a list of strings"),
        (#"{"image": [3], "#, Self.rest, "image[0]"), (#"{"image": "", "#, Self.rest, "not a path"),
        (#"{"image": "a\u0000b", "#, Self.rest, "not a path"), (#"{"id": [], "#, Self.rest, "a number"),
        (#"{"speech": "a", "long_speech": "b", "#, Self.rest, "long_speech"),
        (#"{"speech": "a", "speech_asr": ["b", "c"], "#, Self.rest, "speech_asr"),
        (#"{"tgt_unit": "<1><x>", "#, Self.rest, "tgt_unit"), (#"{"tgt_unit": "<99999999999>", "#, Self.rest, "units"),
        (#"{"tgt_unit": [1.5], "#, Self.rest, "tgt_unit[0]"), (#"{"tgt_unit": [-1], "#, Self.rest, "not a unit"),
        (#"{"answers": [1], "#, Self.rest, "answers[0]"), (#"{"id": 1, "id": 1, "#, Self.rest, "twice"),
    ])
    func aBadItemIsNamedAndTheItemsAfterItAreRead(start: String, end: String, part: String) throws {
        for (before, between, after) in [("[", ",\n", "]"), ("", "\n", "")] {
            let bad = start.hasSuffix(", ") && end == "}" ? start.dropLast(2) + end : start + end
            let file = try TemporaryFile(before + Self.first + between + bad + between + Self.first + after)
            let items = try all(file)
            #expect(items.count == 3)
            let error = lyraError { _ = try items[1].get() }
            #expect(error.code == .format)
            #expect(error.message.contains("\(file.path), line 2, item 2: ") && error.message.contains(part))
            #expect(try items[2].get().turns.count == 2)
        }
    }

    private static let rest = #""conversations": [{"from": "human", "value": "q"}]}"#

    @Test func anItemCanLabelItsMediumWithoutAConversation() throws {
        let file = try TemporaryFile(
            """
            {"speech": "a.wav", "row_labels": {"phone": [3, -100, [7, 2], 1]}, "sequence_labels": {"word": [5, 5]}}
            {"image": "a.png", "row_labels": {"colour": [[1, 2000000]]}}
            {"image": "a.png", "row_labels": {"colour": [[1, 2, 3]]}}
            {"image": "a.png", "row_labels": {"colour": [[9999999999, 2]]}}
            {"image": "a.png", "sequence_labels": {"word": ["x"]}}
            """)
        let items = try all(file)
        let item = try items[0].get()
        #expect(item.turns.isEmpty && item.speech.count == 1)
        #expect(item.rowLabels == ["phone": [3, -100, 7, 7, 1]])
        #expect(item.sequenceLabels == ["word": [5, 5]])
        for bad in items.dropFirst() {
            #expect(lyraError { _ = try bad.get() }.code == .format)
        }
    }

    @Test func anItemOfAbsurdSizeIsNamed() throws {
        let long = #"{"conversations": [{"from": "human", "value": "\#(String(repeating: "x", count: 17 << 20))"}]}"#
        let file = try TemporaryFile(Self.first + "\n" + long + "\n" + Self.first)
        let items = try all(file)
        #expect(items.count == 3)
        let error = lyraError { _ = try items[1].get() }
        #expect(error.message.contains("16777216"))
    }

    @Test(arguments: [
        ("", "empty"), (" \n", "empty"), ("hello", "neither"), ("[1]", "item 1 is not an object"),
        ("[\n{}\n{}]", "line 3: expected ','"), ("[{}", "truncated"), ("[{},", "truncated"), ("[", "truncated"),
        ("[{}]\nx", "line 2: text follows"), ("[{},\n\n{\"a\": \"", "line 3: the file ends inside item 2"),
        ("[{}, ]", "item 2 is not an object"),
    ])
    func aDamagedFileIsNamed(content: String, part: String) throws {
        let file = try TemporaryFile(content)
        let error = lyraError { _ = try IndexedDataset(path: file.path) }
        #expect(error.code == .format && error.message.contains(file.path), "\(error.message)")
        #expect(error.message.contains(part), "\(error.message)")
    }

    @Test func anEmptyListHasNoItems() throws {
        let file = try TemporaryFile("[ ]\n")
        #expect(try IndexedDataset(path: file.path).count == 0)
    }

    @Test func missingFilesAndFoldersAreNamed() throws {
        #expect(lyraError { _ = try DatasetReader(path: "/nowhere.json") }.message.contains("/nowhere.json"))
        #expect(lyraError { _ = try DatasetReader(path: "/tmp") }.message.contains("directory"))
    }
}
