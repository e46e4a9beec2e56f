import LyraBase
import Testing

@testable import LyraData

private func read(_ text: String, name: String = "talk") throws -> TimedTranscript {
    try TimedTranscript(Array(text.utf8), name: name)
}

private func cue(_ start: Double, _ end: Double, _ text: String) -> Cue { Cue(start: start, end: end, text: text) }

/// Transcripts as people and programs write them; the cues are read off by hand.
@Suite struct TranscriptTests {
    /// The header, comment, style, identifiers, settings, voices and entities of the examples in WebVTT's standard.
    @Test func webVTTIsReadAsItsStandardHasIt() throws {
        let transcript = try read(
            """
            \u{FEFF}WEBVTT - Some title
            Kind: captions

            NOTE This file --> is a comment
            of two lines

            STYLE
            ::cue(b) { color: red }

            REGION
            id:fred

            intro
            00:00.500 --> 00:02.000 align:start position:0%
            <v Roger Bingham>We are in <i.loud>New York</i> &amp; it&#39;s 3 < 4

            01:02:03.250 --> 01:02:04.000
            - Second line
            goes &lt;on&gt; [laughs]

            """)
        #expect(
            transcript.cues == [
                cue(0.5, 2, "We are in New York & it's 3 < 4"), cue(3723.25, 3724, "Second line goes <on>"),
            ])
        #expect(transcript.omissions.isEmpty && transcript.end == 3724)
    }

    /// CR LF, numbers, commas, tags, positions, a blank line inside a cue, and a cue without a blank line before it.
    @Test func srtIsReadAsItIsFound() throws {
        let transcript = try read(
            "1\r\n00:00:01,000 --> 00:00:04,500 X1:201 X2:516\r\n{\\an8}<font color=\"#fff\">Hello,</font>\r\n\r\n"
                + "world\r\n\r\n2\r\n00:00:05,5 --> 00:00:06.000\r\n♪ sung ♪\r\n3\r\n01:07,000 --> 01:08,000\r\n1984\r\n"
        )
        #expect(
            transcript.cues == [cue(1, 4.5, "Hello, world"), cue(5.5, 6, "sung"), cue(67, 68, "1984")])
    }

    /// Captions of YouTube roll up: each line is shown a second time above the next.
    @Test func rollingCaptionsAreSaidOnce() throws {
        let transcript = try read(
            """
            WEBVTT

            00:00:00.000 --> 00:00:02.000
             
            so<00:00:00.400><c> today</c>

            00:00:02.000 --> 00:00:02.010
            so today
             

            00:00:02.010 --> 00:00:04.000
            so today
            we<00:00:02.400><c> sail</c>

            00:00:04.000 --> 00:00:06.000
            yes

            00:00:06.000 --> 00:00:08.000
            yes
            """)
        #expect(transcript.cues.map(\.text) == ["so today", "we sail", "yes", "yes"])
        #expect(transcript.cues[0].end == 2.01)
    }

    @Test func cuesAreInTheOrderOfTheirStarts() throws {
        let transcript = try read("WEBVTT\n\n00:09.000 --> 00:10.000\nb\n\n00:01.000 --> 00:20.000\na\n")
        #expect(transcript.cues == [cue(1, 20, "a"), cue(9, 10, "b")])
        #expect(transcript.end == 20)
    }

    @Test func aCueWithWrongTimesIsLeftOutAndNamed() throws {
        let good = (0..<120).map { "00:\($0 % 60 < 10 ? "0" : "")\($0 % 60).000 --> 01:00.000\nword\n\n" }.joined()
        let transcript = try read("WEBVTT\n\n00:61.000 --> 00:62.000\nlost\n\n" + good)
        #expect(transcript.cues.count == 120 && transcript.omissions.count == 1)
        #expect(transcript.omissions.first?.contains("line 3") ?? false)
        for bad in ["00:02.000 --> 00:01.000", "0:00:1000 --> 2", "--> 00:01.000", "a --> b"] {
            #expect(throws: LyraError.self) { try read("WEBVTT\n\n\(bad)\nx\n\n\(bad)\ny\n") }
        }
    }

    @Test func whisperJSONHasThreeForms() throws {
        let wanted = [cue(0, 4.2, "Hello there."), cue(4.2, 5, "Bye")]
        let forms = [
            """
            {"text": " Hello", "language": "en", "segments": [
              {"id": 0, "start": 0.0, "end": 4.2, "text": " Hello\\nthere.", "words": [{"word": "Hello"}]},
              {"id": 1, "start": 4.2, "end": 5, "text": " Bye"}, {"start": 5, "end": 6, "text": " [Music]"}]}
            """,
            """
            {"transcription": [{"timestamps": {"from": "00:00:00,000", "to": "00:00:04,200"},
              "offsets": {"from": 0, "to": 4200}, "text": " Hello there."},
              {"offsets": {"from": 4200, "to": 5000}, "text": "Bye"}]}
            """,
            """
            {"chunks": [{"timestamp": [0.0, 4.2], "text": "Hello there."}, {"timestamp": [4.2, 5.0], "text": "Bye"}]}
            """,
            """
            [{"start": 0, "end": 4.2, "text": "Hello there."}, {"start": 4.2, "end": 5, "text": "Bye"}]
            """,
        ]
        for form in forms { #expect(try read(form).cues == wanted) }
        #expect(try read(#"{"chunks": [{"timestamp": [1.5, null], "text": "x"}]}"#).cues == [cue(1.5, 1.5, "x")])
    }

    @Test func utf16IsRead() throws {
        let text = "WEBVTT\n\n00:01.000 --> 00:02.000\nnaïve\n"
        for isLittle in [true, false] {
            let units = [0xFEFF] + Array(text.utf16)
            let bytes = units.map { isLittle ? $0.littleEndian : $0.bigEndian }.flatMap { unit in
                withUnsafeBytes(of: unit) { Array($0) }
            }
            #expect(try TimedTranscript(bytes, name: "talk").cues == [cue(1, 2, "naïve")])
        }
    }

    @Test(arguments: [
        "", "\n\n", "WEBVTT\n", "just words\n", "{}", "{\"segments\": []}", "{\"segments\": [{\"text\": \"x\"}]}",
        "[1]",
        "{\"segments\": [{\"start\": -1, \"end\": 1, \"text\": \"x\"}]}", "WEBVTT\n\n00:01.000 --> 00:02.000\n\n",
        "{\"segments\": [{\"start\": 1e300, \"end\": 1e301, \"text\": \"x\"}]}", "1\n00:00:01,000 --> 00:00:02,000",
    ]) func whatIsNoTranscriptIsRefusedByName(_ text: String) {
        let error = #expect(throws: LyraError.self) { try read(text, name: "odd.vtt") }
        #expect(error?.code == .format && error?.message.hasPrefix("odd.vtt") ?? false)
    }

    @Test func latin1SaysHowToConvert() {
        let error = #expect(throws: LyraError.self) {
            try TimedTranscript(Array("1\n00:00:01,000 --> 00:00:02,000\ncaf".utf8) + [0xE9], name: "talk.srt")
        }
        #expect(error?.message.contains("iconv") ?? false)
    }

    /// Files with bytes changed, doubled and cut at random: an error or cues, and never an end before a start.
    @Test func damagedFilesNeverCrash() throws {
        let seeds = [
            "WEBVTT\n\nNOTE x\n\nid\n00:00.500 --> 01:00:02.000 line:1\n<v A>We <i>are</i> &amp; &#x27; [x] {\\b}\n\n",
            "1\r\n00:00:01,000 --> 00:00:04,500\r\nHello\r\n2\r\n00:00:05,5 --> 00:00:06.000\r\n<b>x</b>\r\n",
            #"{"segments": [{"start": 0.5, "end": 4.2, "text": " He\u00e9 <i>"}], "chunks": null}"#,
            #"{"chunks": [{"timestamp": [0, null], "text": "x"}]}"#,
        ].map { Array($0.utf8) }
        let marks = Array("<>&[]{}-:,.\n\r\"1".utf8)
        var random = SplitMix64(seed: 7)
        func below(_ bound: Int) -> Int { Int(random.next(below: UInt64(bound))) }
        for _ in 0..<4000 {
            var bytes = seeds[below(seeds.count)]
            for _ in 0...below(4) where !bytes.isEmpty {
                let place = below(bytes.count)
                switch below(4) {
                case 0: bytes[place] = UInt8(below(256))
                case 1: bytes.insert(contentsOf: bytes[place...].prefix(below(12)), at: below(bytes.count))
                case 2: bytes.removeSubrange(place..<min(place + below(6), bytes.count))
                default: bytes[place] = marks[below(marks.count)]
                }
            }
            if let transcript = try? TimedTranscript(bytes, name: "x") {
                #expect(transcript.cues.allSatisfy { $0.end >= $0.start && $0.start >= 0 && !$0.text.isEmpty })
            }
        }
    }
}
