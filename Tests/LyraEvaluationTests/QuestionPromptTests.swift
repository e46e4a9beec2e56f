import LyraBase
import Testing

@testable import LyraDatasets
@testable import LyraEvaluation

@Suite struct QuestionPromptTests {
    private func item(_ turns: [DatasetItem.Turn], transcripts: [String] = [], speech: [String] = ["s"]) -> DatasetItem
    {
        var item = DatasetItem(id: "1", index: 0, line: 1, place: "data, line 1, item 1", turns: turns)
        (item.images, item.speech, item.transcripts) = (["i"], speech, transcripts)
        return item
    }

    private static let question = DatasetItem.Turn(.human, [.image(0), .speech(0), .text("\nBriefly.")])

    /// A session adds the line break after speech itself.
    @Test func aSpokenQuestionIsFedAsSpeech() throws {
        let item = item([Self.question, .init(.model, [.text("a")])])
        let prompt = try QuestionPrompt(item, .spoken, closing: nil)
        #expect(prompt.parts == [.image("i"), .speech("s"), .text("Briefly.")])
        #expect(try QuestionPrompt(item, .given, closing: "In a word.").parts.last == .text("Briefly.\nIn a word."))
    }

    @Test func aTypedQuestionHasTheTranscriptInPlaceOfTheRecording() throws {
        let prompt = try QuestionPrompt(item([Self.question], transcripts: ["What is it?"]), .typed, closing: nil)
        #expect(prompt.parts == [.image("i"), .text("What is it?\nBriefly.")])
        #expect(prompt.text == "<image>What is it?\nBriefly.")
    }

    @Test func earlierTurnsAreGivenAsTheItemHasThem() throws {
        let turns: [DatasetItem.Turn] = [
            .init(.human, [.image(0), .text("one")]), .init(.model, [.text("\n1")]), .init(.human, [.speech(0)]),
        ]
        let prompt = try QuestionPrompt(item(turns), .spoken, closing: "Say.")
        #expect(
            prompt.parts == [
                .image("i"), .text("one"), .template("<|im_end|>\n<|im_start|>assistant\n"), .text("\n1"),
                .template("<|im_end|>\n<|im_start|>user\n"), .speech("s"), .text("Say."),
            ])
    }

    @Test func whatIsMissingIsNamed() {
        func reason(_ item: DatasetItem, _ form: QuestionForm) -> QuestionFailure.Reason? {
            do { _ = try QuestionPrompt(item, form, closing: nil) } catch { return (error as? QuestionFailure)?.reason }
            return nil
        }
        #expect(reason(item([Self.question]), .typed) == .noTranscript)
        #expect(reason(item([.init(.human, [.text("q")])], speech: []), .spoken) == .noRecording)
        #expect(reason(item([.init(.human, [.text("q")])], speech: []), .typed) == nil)
        let early = [DatasetItem.Turn(.human, [.speech(0)]), .init(.model, []), .init(.human, [.text("q")])]
        #expect(reason(item(early), .given) == .item)
        #expect(reason(item([.init(.human, [])], speech: []), .given) == .item)
        #expect(reason(item([]), .given) == .item)
    }
}
