import LyraBase
import LyraDatasets
import Testing

/// The pieces of human turns. What has one picture is as `preprocess_multimodal` of the reference makes it.
@Suite struct PlaceholderTests {
    typealias Piece = DatasetItem.Piece

    private func item(_ media: String, _ texts: [String]) throws -> DatasetItem {
        let turns = texts.enumerated().map {
            #"{"from": "\#($0 % 2 == 0 ? "human" : "gpt")", "value": "\#($1)"}"#
        }
        let file = try TemporaryFile(#"{\#(media)"conversations": [\#(turns.joined(separator: ","))]}"#)
        return try IndexedDataset(path: file.path).item(at: 0)
    }

    static let image = #""image": "i", "#, speech = #""speech": "s", "#, video = #""video": "v", "#

    @Test(
        arguments: [
            (image + speech, #"<image>\n<speech>\n text "#, [.image(0), .speech(0), .text("\n text")]),
            (image, #"<image>\nWhat?"#, [.image(0), .text("What?")]),
            (image, #" What? \n<image>"#, [.image(0), .text("What?")]),
            (image, #"See <image> there"#, [.image(0), .text("See  there")]),
            (image, #"<image>"#, [.image(0)]),
            (speech, #"<speech>\nWrite it. "#, [.speech(0), .text("\nWrite it. ")]),
            (speech, #"Listen: <speech>"#, [.text("Listen: "), .speech(0)]),
            (video + speech, #"<image>\n<speech>"#, [.video(0), .speech(0)]),
            (video, #"<video>\nWhat?"#, [.video(0), .text("What?")]),
            ("", #"a < b <images> <image"#, [.text("a < b <images> <image")]),
            (#""image": ["i", "j"], "#, #"<image>\n<image>\nCompare."#, [.image(0), .image(1), .text("Compare.")]),
            (
                #""image": ["i", "j"], "#, #"A <image> or <image>?"#,
                [
                    .text("A "), .image(0), .text("or "), .image(1),
                    .text("?"),
                ]
            ),
            (#""long_speech": ["s", "t"], "#, #"<speech><speech>\nQ"#, [.longSpeech(0), .longSpeech(1), .text("\nQ")]),
        ] as [(String, String, [Piece])])
    func placeholdersAreReplaced(media: String, text: String, pieces: [Piece]) throws {
        #expect(try item(media, [text]).turns == [DatasetItem.Turn(.human, pieces)])
    }

    @Test(
        arguments: [
            (image + video + speech, "Q ", [.image(0), .video(0), .speech(0), .text("\nQ ")]),
            (image, "Q", [.image(0), .text("Q")]), (speech, "", [.speech(0)]),
            (#""long_speech": "s", "#, #"\nQ"#, [.longSpeech(0), .text("\nQ")]),
            (image + speech, #"<image>\nQ"#, [.image(0), .speech(0), .text("\nQ")]),
            (image + speech, #"<speech>\nQ"#, [.image(0), .speech(0), .text("\nQ")]),
        ] as [(String, String, [Piece])])
    func mediaWithoutPlaceholdersComeFirst(media: String, text: String, pieces: [Piece]) throws {
        #expect(try item(media, [text]).turns == [DatasetItem.Turn(.human, pieces)])
    }

    @Test func mediaAreNumberedOverAllTurns() throws {
        let item = try item(
            #""image": ["i", "j"], "#, [#"<image>\nA"#, "<image> is text here", #"B <image>"#, "C"])
        #expect(
            item.turns == [
                DatasetItem.Turn(.human, [.image(0), .text("A")]),
                DatasetItem.Turn(.model, [.text("<image> is text here")]),
                DatasetItem.Turn(.human, [.image(1), .text("B")]), DatasetItem.Turn(.model, [.text("C")]),
            ])
    }

    @Test(arguments: [
        (image, "<image><image>", #"2 <image>, but "image" lists 1"#), ("", "<speech>", #""speech" lists 0"#),
        (#""image": ["i", "j"], "#, "<image>", "lists 2"), (video, "<image><image>", #"2 <image>, but "video""#),
    ])
    func placeholdersAndMediaMustBeEquallyMany(media: String, text: String, part: String) {
        #expect(lyraError { _ = try item(media, [text]) }.message.contains(part))
    }
}
