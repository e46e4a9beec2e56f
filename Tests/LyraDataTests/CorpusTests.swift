import LyraBase
import Testing

@testable import LyraData

@Suite struct CorpusTests {
    @Test func examplesOfAFileKeepTheirOtherMembers() throws {
        let folder = try TemporaryFolder()
        let one = #"{"id": 7, "x": [1.50, {"y": null}], "tgt_unit": "<1>", "tgt_speech": "a.wav"}"#
        let two = "{\"id\": \"\\u00e9\\n\",\n  \"tgt_speech\": [\"b\", \"c\"]}"
        for text in [
            "[\(one), \(two)]", "\u{FEFF}[\n\(one),\n\(two)\n]\n", "\(one)\n\n\(two)\n", "\u{FEFF}\(one)\r\n\(two)",
        ] {
            var places: [String] = [], recordings: [[String]?] = [], lines: [String] = []
            try ExampleReader(path: folder.file("d.json", Array(text.utf8))).forEach { item in
                places.append(item.place)
                recordings.append(try item.texts("tgt_speech"))
                lines.append(String(decoding: try item.setting("tgt_unit", to: "<2>"), as: UTF8.self))
            }
            #expect(places == ["\(folder.path)/d.json: example 1", "\(folder.path)/d.json: example 2"])
            #expect(recordings == [["a.wav"], ["b", "c"]])
            #expect(lines[0] == #"{"id": 7, "x": [1.50, {"y": null}], "tgt_speech": "a.wav", "tgt_unit": "<2>"}"#)
            #expect(lines[1] == #"{"id": "\u00e9\n", "tgt_speech": ["b", "c"], "tgt_unit": "<2>"}"#)
        }
        for text in ["", " \n", "[1]", "[{}", "{} x", "3", "{\"a\": 1}}", "[{\"a\": \u{1}}]"] {
            let reader = try ExampleReader(path: folder.file("d.json", Array(text.utf8)))
            #expect(throws: LyraError.self) { try reader.forEach { _ in } }
        }
        let reader = try ExampleReader(path: folder.file("d.json", Array("{\"a\": \"".utf8) + [0xFF, 0x22, 0x7D]))
        let error = #expect(throws: LyraError.self) { try reader.forEach { _ in } }
        #expect(error?.message.contains("UTF-8") ?? false)
    }

    @Test func theBadShareIsABound() throws {
        var notes: [String] = []
        var bad = BadExamples(allowing: 0.01, of: 200) { notes.append($0) }
        try bad.add("one")
        try bad.add("two")
        let error = #expect(throws: LyraError.self) { try bad.add("three") }
        #expect(error?.message.contains("3 of 200") ?? false)
        #expect(error?.message.contains("one") ?? false)
        #expect(notes == ["one", "two", "three"] && bad.count == 3)
    }

    @Test func recordingsAndTranscriptsBelongTogetherByName() throws {
        let folder = try TemporaryFolder()
        for name in ["b.mp3", "a.wav", "c.flac", "a.vtt", "b.en-GB.srt", "b.mp3.json", "b.info.json", "notes.txt"] {
            _ = try folder.file(name, [1])
        }
        let pairs = try LongRecording.pairs(recordings: [folder.path], transcripts: [])
        #expect(pairs.map(\.id) == ["a", "b", "c"])
        // The shortest name: b.mp3.json before b.en-GB.srt and b.info.json.
        let found = pairs.map { pair in pair.transcript.map { String($0.dropFirst(folder.path.count + 1)) } }
        #expect(found == ["a.vtt", "b.mp3.json", nil])
        let given = try LongRecording.pairs(
            recordings: [folder.path + "/c.flac", folder.path + "/a.wav"],
            transcripts: [folder.path + "/b.en-GB.srt", folder.path + "/a.vtt"])
        #expect(given.map(\.transcript) == [folder.path + "/b.en-GB.srt", folder.path + "/a.vtt"])
        let twice = try LongRecording.pairs(recordings: [folder.path + "/a.wav", folder.path], transcripts: [])
        #expect(twice.map(\.id) == ["a", "a-2", "b", "c"])
        #expect(throws: LyraError.self) { try LongRecording.pairs(recordings: ["/nowhere.wav"], transcripts: []) }
    }

    @Test func aServersAddressIsChecked() throws {
        for (url, endpoint) in [
            ("http://localhost:8080/v1/", "http://localhost:8080/v1/chat/completions"),
            ("https://x.org/chat/completions", "https://x.org/chat/completions"),
        ] {
            #expect(try ChatServer(url: url, model: "m", key: nil).endpoint == endpoint)
        }
        for url in ["localhost:8080", "ftp://x", "file:///etc/passwd", "http://x y", "http://x\n", ""] {
            #expect(throws: LyraError.self) { try ChatServer(url: url, model: "m", key: nil) }
        }
        #expect(throws: LyraError.self) { try ChatServer(url: "http://x", model: "m", key: "a\nurl = http://y") }
    }

    /// Waits double, stay below a minute, and are spread over the upper half.
    @Test func waitsGrow() throws {
        var server = try ChatServer(url: "http://x", model: "m", key: nil)
        server.retryDelay = 2
        for attempt in 1...12 {
            let longest = min(60, 2 * Double(1 << (attempt - 1)))
            for request in 0..<20 {
                let delay = server.delay(request: request, attempt: attempt, asked: nil)
                #expect((longest / 2...longest).contains(delay))
            }
        }
        #expect(server.delay(request: 0, attempt: 1, asked: 90) == 90)
    }
}
