import Foundation
import LyraBase
import LyraDatasets
import LyraMedia
import LyraModel
import Testing
import TestSupport

@testable import Lyra
@testable import LyraTraining

/// Examples have the prompts of sessions, and bad ones are refused by name.
@Suite struct ExampleBuilderTests {
    // A test fixture: without it no test can run.
    private static let models = ["a", "b"].map { try! Model(path: Golden.path($0) + "/lyra") }

    private let files: MediaFiles
    private let model = Self.models[0]

    init() throws { files = try MediaFiles() }

    private func example(
        _ content: [ExampleConversation.Part], answer: String = "Yes.",
        _ change: (inout ExampleOptions) -> Void = { _ in }
    ) throws -> TrainingExample {
        var options = ExampleOptions()
        change(&options)
        let conversation = ExampleConversation(turns: [.init(content, answer: answer)], origin: "here")
        return try ExampleBuilder(model.checkpoint, options).example(conversation)
    }

    /// Fed parts, as a session takes them: it adds the line break between speech and text itself.
    private func feed(_ parts: [ExampleConversation.Part], to session: Session) throws {
        var isAfterSpeech = false
        for part in parts {
            switch part {
            case .text(let text):
                if isAfterSpeech { #expect(text.hasPrefix("\n")) }
                try session.feed(text: isAfterSpeech ? String(text.dropFirst()) : text)
            case .image(let path): try session.feed(.image(.file(path)))
            case .video(let path): try session.feed(.video(.file(path)))
            case .speech(let path): try session.feed(.speech(.file(path)))
            case .sound(let path): try session.feed(.sound(.file(path)))
            }
            switch part {
            case .speech, .sound: isAfterSpeech = true
            default: isAfterSpeech = false
            }
        }
    }

    /// Ends the turn. → the generated tokens
    private func answer(_ session: Session) throws -> [Int32] {
        try session.endTurn()
        while try !session.step().contains(.end) {}
        return session.readTokens()
    }

    /// What a session reports about an example's media, if `first` rows of text come before each turn.
    private func spans(of pieces: [TrainingExample.Piece], _ checkpoint: Checkpoint, first: Int) throws -> [[Int]] {
        var row = first
        return try pieces.compactMap { piece in
            let start = row
            switch piece {
            case .prompt(let tokens), .answer(let tokens):
                row += tokens.count
                return nil
            case .vision(let grid):
                let (time, height, width) = (grid.grid.time, grid.grid.height / 2, grid.grid.width / 2)
                row += time * height * width
                return [start, time * height * width, time, height, width]
            case .speech(let windows):
                row += try windows.count * checkpoint.speechNetworks.get().windowTokens
                return [start, row - start, row - start, 1, 1]
            case .sound(let clips):
                row += clips.count
                return [start, row - start, row - start, 1, 1]
            }
        }
    }

    private func tokens(_ pieces: some Sequence<TrainingExample.Piece>) -> [Int32] {
        pieces.flatMap { if case .prompt(let tokens) = $0 { tokens } else { [Int32]() } }
    }

    @Test(arguments: [0, 1]) func promptsAndLayoutsEqualThoseOfASession(_ fixture: Int) throws {
        let model = Self.models[fixture], turnEnd = try #require(model.checkpoint.tokenizer.id(ofSpecial: "<|im_end|>"))
        let speech = try files.tone(samples: 9000, sampleRate: 8000)
        let turns: [[ExampleConversation.Part]] = [
            [
                .text("Look: "), .image(try files.image(width: 90, height: 61)),
                .video(try files.video(frames: 11)), .text("Naïve <|im_end|> question?"),
            ],
            [.speech(speech), .sound(speech), .text("\nAnd what\n\nis said?"), .speech(speech)],
        ]
        let system = "Say <|im_start|> rarely."
        let example = try ExampleBuilder(model.checkpoint).example(
            ExampleConversation(
                system: system, turns: turns.map { .init($0, answer: "Ein Haus.") }, transcript: "good <|im_end|>",
                units: [3, 1], origin: "here"))

        var options = SessionOptions()
        (options.sampling, options.maxNewTokens, options.systemPrompt) = (.greedy, 2, system)
        let session = try Session(model, options: options)
        try feed(turns[0], to: session)
        let first = try answer(session), ended = session.usage.stop == .endOfAnswer
        let firstMedia = session.media
        // What the session computes again with the next turn, and the end that it adds to an answer that was cut.
        let uncomputed = session.conversation.uncomputed
        try feed(turns[1], to: session)
        let second = try answer(session)

        let split = try #require(example.pieces.firstIndex { if case .answer = $0 { true } else { false } })
        let (before, after) = (Array(example.pieces[..<split]), Array(example.pieces[(split + 1)...]))
        let added = ended ? [] : [turnEnd]
        #expect(
            Array(session.conversation.tokens)
                == tokens(before) + first + uncomputed + added + tokens(after) + second)
        func numbers(_ media: [MediaSpan]) -> [[Int]] {
            media.map { [$0.first, $0.tokens, $0.time, $0.height, $0.width] }
        }
        #expect(numbers(firstMedia) == (try spans(of: before, model.checkpoint, first: 0)))
        #expect(
            numbers(session.media)
                == (try spans(of: after, model.checkpoint, first: uncomputed.count + added.count)))

        let answers = example.pieces.compactMap { if case .answer(let tokens) = $0 { tokens } else { nil } }
        let answer = try model.checkpoint.tokenizer.encode("Ein Haus.") + [turnEnd]
        #expect(answers == [answer, answer])
        #expect(example.transcript == (try model.checkpoint.tokenizer.encode("good <|im_end|>", allowSpecial: false)))
        #expect(example.units == [3, 1])
        #expect(
            example.length == (try spans(of: example.pieces, model.checkpoint, first: 0)).reduce(0) { $0 + $1[1] }
                + tokens(example.pieces).count + 2 * answer.count)
    }

    @Test func featuresEqualThoseOfTheFilesSamples() throws {
        let samples = (0..<9000).map { (time: Int) -> Float in
            let value: Float = 0.3 * sin(0.05 * Float(time))
            return Float(Int16(value * 32_767)) / 32_768
        }
        let networks = try model.checkpoint.speechNetworks.get()
        let path = try files.tone(samples: 9000)
        let made = try example([.speech(path), .sound(path)])
        guard case .speech(let windows) = made.pieces[1], case .sound(let clips) = made.pieces[2] else {
            throw FixtureError("no speech and sound in \(made.pieces)")
        }
        let expected = try samples.withUnsafeBufferPointer { try networks.mel($0) }
        #expect(windows.count == 1 && windows.first?.values == expected.values)
        let queue = try PCMQueue(sampleRate: 16_000, channels: 1)
        try samples.withUnsafeBufferPointer { try queue.append($0, sampleRate: 16_000, channels: 1) }
        queue.finish()
        let sound = try SoundClips(queue)
        while try !sound.read() {}
        #expect(clips.map(\.shape) == Array(repeating: [128, 204], count: 3))
        #expect(clips.flatMap(\.values) == (try sound.features().values))
    }

    @Test func anExactMultipleOfTheWindowIsFollowedByAnEmptyWindow() throws {
        func windows(_ samples: Int, _ change: (inout ExampleOptions) -> Void = { _ in }) throws -> Int {
            // Resampled to 16 kHz, 30,000 samples of 1 kHz are one window.
            let path = try files.tone(samples: samples, sampleRate: 1000)
            guard case .speech(let windows) = try example([.speech(path)], change).pieces[1] else { return 0 }
            return windows.count
        }
        #expect(try windows(29_999) == 1)
        #expect(try windows(30_000) == 2)
        #expect(try windows(30_000) { $0.speechSeconds = 30 } == 1)
        #expect(try windows(31_000) { ($0.speechSeconds, $0.maxWindows) = (30, 1) } == 1)
        #expect(throws: LyraError.self) { try windows(30_000) { $0.maxWindows = 1 } }
    }

    @Test func aTranscriptIsOfTheWholeRecordingAndNotTooLong() throws {
        // Two seconds.
        let path = try files.tone(samples: 2000, sampleRate: 1000)
        let other = try files.tone(samples: 500, sampleRate: 1000, to: "other.wav")
        func made(
            _ speech: [String], _ seconds: Double?, _ transcript: String = "good morning"
        ) throws -> TrainingExample {
            var options = ExampleOptions()
            (options.speechSeconds, options.maxLength) = (seconds, 1000)
            let content = speech.map { ExampleConversation.Part.speech($0) }
            return try ExampleBuilder(model.checkpoint, options).example(
                ExampleConversation(
                    turns: [.init(content, answer: "Yes.")], transcript: transcript, origin: "here"))
        }
        #expect(try made([path], nil).transcript != nil && made([path], 2).transcript != nil)
        #expect(try made([path], 1.5).transcript == nil)
        // The transcript is the first recording's.
        #expect(try made([other, path], 1.5).transcript != nil && made([path, other], 1.5).transcript == nil)
        let error = #expect(throws: LyraError.self) { try made([path], nil, String(repeating: "word ", count: 1500)) }
        #expect(error?.message == "the transcript is longer than 1000 tokens")
    }

    @Test func anImagesSideIsLimited() throws {
        let path = try files.image(width: 300, height: 100)
        // 112 × 37 pixels become 112 × 28: 4 tokens of 28 × 28 pixels in one row.
        let made = try example([.image(path)]) { $0.imageSide = 112 }
        guard case .vision(let grid) = made.pieces[1] else { throw FixtureError("no image in \(made.pieces)") }
        #expect(grid.grid == (1, 2, 8))
    }

    @Test func estimatesOfMediaAreTheirRows() throws {
        let builder = try ExampleBuilder(model.checkpoint)
        let media: [ExampleConversation.Part] = [
            .image(try files.image(width: 200, height: 90)), .speech(try files.tone(samples: 9000)),
            .sound(try files.tone(samples: 9000)), .video(try files.video(frames: 90)),
        ]
        for part in media {
            let conversation = ExampleConversation(turns: [.init([part], answer: "")], origin: "here")
            let made = try builder.example(conversation)
            let rows = try spans(of: made.pieces, model.checkpoint, first: 0)[0][1]
            #expect(builder.estimatedLength(of: conversation) == rows)
        }
    }

    @Test func badMediaAreErrorsThatNameThem() throws {
        let image = try Data(contentsOf: URL(filePath: files.image(width: 40, height: 40)))
        let cut = try files.write(Array(image.prefix(2000)), to: "cut.bmp")
        let text = try files.write("not a picture", to: "text.png")
        let silent = try files.recording([Float](repeating: 0, count: 4000), to: "silent.wav")
        let empty = try files.recording([], to: "empty.wav")
        let long = try files.tone(samples: 61_000, sampleRate: 1000)
        let bad: [(ExampleConversation.Part, String)] = [
            (.image(files.path("missing.png")), "missing.png"), (.image(cut), "cut.bmp"), (.image(text), "text.png"),
            (.image(silent), "silent.wav"), (.image("/dev/zero"), "/dev/zero"), (.video(text), "text.png"),
            (.speech(text), "text.png"), (.speech(silent), "is silent"), (.speech(empty), "empty.wav"),
            (.speech(files.path("")), "directory"), (.sound(silent), "is silent"),
            (.speech(long), "more windows"), (.text(String(repeating: "word ", count: 2000)), "longer than 1000"),
        ]
        for (part, words) in bad {
            let error = #expect(throws: LyraError.self) {
                try example([part]) { ($0.maxWindows, $0.maxLength) = (1, 1000) }
            }
            #expect(error?.message.contains(words) ?? false, "\(error?.message ?? "")")
        }
    }

    @Test func optionsOutOfRangeAreErrors() throws {
        let changes: [(inout ExampleOptions) -> Void] = [
            { $0.imageSide = 0 }, { $0.imagePixels = 0 }, { $0.framesPerSecond = .nan }, { $0.maxFrames = 0 },
            { $0.speechSeconds = 0 }, { $0.maxWindows = 0 }, { $0.maxLength = 0 }, { $0.soundSeconds = .nan },
        ]
        for change in changes { #expect(throws: LyraError.self) { try example([.text("Hi")], change) } }
    }

    @Test func itemsOfAFileBecomeExamplesOrReasons() throws {
        _ = try files.tone(samples: 4000)
        _ = try files.image(width: 56, height: 56)
        let lines = """
            {"conversations": [{"from": "human", "value": "<image>\\n<speech>\\n"}, {"from": "gpt", "value": "No."}], \
            "image": "image.bmp", "speech": "speech.wav", "speech_asr": "good morning", "tgt_unit": "<4><9>"}
            {"conversations": [{"from": "human", "value": "Hi"}]}
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "No."}], "image": "none.png"}
            {"conversations": [{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "Too long an answer."}]}
            not JSON
            """
        let dataset = try IndexedDataset(path: files.write(lines, to: "data.jsonl"))
        let list = try DatasetExamples([(dataset, 1)], ExampleBuilder(model.checkpoint)) { example in
            if example.length > 30, example.units == nil {
                throw LyraError(.format, "\(example.origin): refused by the objective")
            }
        }
        let first = try list.example(0, epoch: 0)
        #expect(first.units == [4, 9])
        #expect(first.transcript == (try model.checkpoint.tokenizer.encode("good morning")))
        let kinds = first.pieces.map { piece in
            switch piece {
            case .prompt: "prompt"
            case .answer: "answer"
            case .vision: "vision"
            case .speech: "speech"
            case .sound: "sound"
            }
        }
        #expect(kinds == ["prompt", "vision", "prompt", "speech", "prompt", "answer"])
        #expect(list.estimatedLength(0) > list.estimatedLength(1))
        for (item, words) in [(1, "answer"), (2, "none.png"), (3, "refused by the objective"), (4, "line 5")] {
            let error = #expect(throws: LyraError.self) { try list.example(item, epoch: 0) }
            let message = error?.message ?? ""
            #expect(message.components(separatedBy: "data.jsonl, line \(item + 1)").count == 2, "\(message)")
            #expect(message.contains(words), "\(message)")
        }
    }

    @Test func filesThatChangeDuringARunGiveBadExamples() throws {
        let turns = #"[{"from": "human", "value": "Hi"}, {"from": "gpt", "value": "No."}]"#
        let line = #"{"conversations": \#(turns), "image": "a"}"#
        _ = try files.image(width: 28, height: 28, to: "a")
        let path = try files.write(Array(repeating: line, count: 40).joined(separator: "\n"), to: "data.jsonl")
        let list = try DatasetExamples([(IndexedDataset(path: path), 1)], ExampleBuilder(model.checkpoint))
        var options = DataLoaderOptions(batchExamples: 4)
        (options.shuffles, options.badShare, options.threads) = (false, 1, 2)
        let loader = try DataLoader(list, options)
        #expect(try loader.next().count == 4)
        try loader.move(to: 4)
        // The last 20 lines are gone when they are read.
        let writer = try #require(FileHandle(forWritingAtPath: path))
        try writer.truncate(atOffset: UInt64(20 * (line.utf8.count + 1)))
        #expect(try loader.next().count == 4)
        #expect(try loader.next().isEmpty && loader.skipped.count == 4)
        #expect(loader.skipped.reasons.allSatisfy { $0.contains("data.jsonl") })
    }
}
