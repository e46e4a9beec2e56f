import Foundation
import LyraBase
import LyraFormats
import LyraModel
import LyraTensor
import Testing

@testable import LyraTraining

/// Towers and vocoders are trained from nothing by runs like all others.
@Suite(.timeLimit(.minutes(5))) struct PartRunTests {
    private func values(_ path: String) throws -> [String: [Float]] {
        try Safetensors(path: path).tensors.mapValues { try $0.values().values }
    }

    private func towerRecipe(_ part: PartRun, output: String, steps: Int) throws -> TrainingRecipe {
        var recipe = part.recipe(.speechTower, data: try part.windows(8), output: output, steps: steps)
        recipe.heads = [PartRun.head("phone", .rows), PartRun.head("word", .sequence)]
        return recipe
    }

    /// 8 windows of two tones: the tones' rows, and by CTC the sequence of both.
    @Test func aSpeechTowerLearnsWindowsByHeart() throws {
        let part = try PartRun()
        var recipe = try towerRecipe(part, output: "run", steps: 80)
        recipe.optimizer.learningRate = 5e-3
        (recipe.validation.data, recipe.validation.every) = (recipe.data, 80)
        recipe.validation.exactMatch = true
        var losses: [[String: Double]] = [], validation: ValidationResult?
        let run = TrainingRun(recipe)
        #expect(
            try run.run {
                losses.append(Dictionary($0.parts.map { ($0.name, $0.mean) }) { first, _ in first })
                validation = $0.validation
                return .proceed
            } == .finished)
        // ln 4 for four labels that are alike; a fresh head is near it.
        let first = try #require(losses.first?["phone"])
        #expect(abs(first - log(4)) < 0.7)
        let result = try #require(validation)
        let shares = Dictionary(result.accuracies.map { ($0.name, $0.share) }) { first, _ in first }
        // A row at the border of a tone has little of it.
        #expect(try #require(shares["accuracy_phone"]) > 0.9 && shares["accuracy_word"] == 1, "\(shares)")
        let log = try String(contentsOfFile: part.files.path("run/log.jsonl"), encoding: .utf8)
        #expect(log.contains(#""validation_word":"#) && log.contains(#""accuracy_word":1"#))
        // The result is a checkpoint, with the tower that the heads belong to.
        let model = try Checkpoint.open(#require(run.result), options: CheckpointOptions())
        let heads = try values(part.files.path("run/heads.safetensors"))
        let names = ["phone.bias", "phone.weight", "word.bias", "word.weight"].map { "heads." + $0 }
        #expect(heads.keys.sorted() == names)
        #expect(heads["heads.word.bias"]?.count == PartRun.labels + 1)
        var next = recipe
        (next.model, next.headsStart, next.output) = (
            try #require(run.result), part.files.path("run/heads.safetensors"), part.files.path("next")
        )
        next.batch.steps = 1
        var loss: Double?
        try TrainingRun(next).run {
            loss = $0.loss
            return .proceed
        }
        let reached = try #require(losses.last)
        #expect(try #require(loss) < 2 * ((reached["phone"] ?? 0) + (reached["word"] ?? 0)) + 0.01)
        withExtendedLifetime(model) {}
    }

    /// With augmentation, which differs from epoch to epoch: the same numbers, bit for bit.
    @Test func aRunThatIsResumedHasTheSameResult() throws {
        let part = try PartRun()
        func recipe(_ output: String) throws -> TrainingRecipe {
            var recipe = try towerRecipe(part, output: output, steps: 5)
            recipe.batch.size = 3
            (recipe.augmentation.timeMasks, recipe.augmentation.frequencyMasks) = (2, 2)
            return recipe
        }
        var losses: [Double] = []
        try TrainingRun(recipe("whole")).run {
            losses.append($0.loss)
            return .proceed
        }
        let parts = try recipe("parts")
        var resumed: [Double] = []
        for stop in [2, 4, 5] {
            let outcome = try TrainingRun(parts).run {
                resumed.append($0.loss)
                return $0.step == stop ? .stop : .proceed
            }
            #expect(outcome == .stopped)
        }
        #expect(try TrainingRun(parts).run() == .finished)
        #expect(resumed == losses && Set(losses).count == 5)
        for file in ["heads.safetensors", "states/step-000000005.safetensors"] {
            #expect(try values(part.files.path("whole/" + file)) == values(part.files.path("parts/" + file)))
        }
        // Without augmentation the first loss differs, the order of the examples does not.
        var plain = try recipe("plain")
        (plain.augmentation.timeMasks, plain.augmentation.frequencyMasks) = (0, 0)
        var first: Double?
        try TrainingRun(plain).run {
            first = $0.loss
            return .stop
        }
        #expect(first != losses[0])
    }

    @Test func aVisionTowerLearnsPlaces() throws {
        let part = try PartRun()
        var recipe = part.recipe(.visionTower, data: try part.pictures(4), output: "run", steps: 30)
        recipe.heads = [PartRun.head("place", .rows)]
        recipe.optimizer.learningRate = 1e-2
        var losses: [Double] = []
        let run = TrainingRun(recipe)
        try run.run {
            losses.append($0.loss)
            return .proceed
        }
        #expect(losses[29] < 0.1 * losses[0], "\(losses)")
        _ = try Checkpoint.open(#require(run.result), options: CheckpointOptions())
    }

    /// The result has the vocoder of the last state, and everything else of the start.
    @Test func aVocoderLearnsUtterances() throws {
        let part = try PartRun()
        var recipe = part.recipe(.vocoder, data: try part.utterances(3), output: "run", steps: 6)
        (recipe.loss.crop, recipe.optimizer.learningRate, recipe.batch.size) = (5, 2e-3, 3)
        recipe.validation.data = recipe.data
        var losses: [[Double]] = []
        let run = TrainingRun(recipe)
        try run.run {
            #expect($0.parts.map(\.name) == ["mel", "stft", "duration"])
            losses.append($0.parts.map(\.mean))
            return .proceed
        }
        // Each update has other pieces of the recordings, whose STFT losses differ by a tenth.
        for index in [0, 2] { #expect(losses[5][index] < 0.9 * losses[0][index], "\(losses)") }
        #expect(losses[5].reduce(0, +) < 0.95 * losses[0].reduce(0, +))
        let state = try values(part.files.path("run/states/step-000000006.safetensors"))
        let path = try #require(run.result)
        let vocoder = try Checkpoint.open(path, options: CheckpointOptions()).vocoder.get()
        for parameter in vocoder.parameters {
            let trained = try #require(state["parameter.vocoder." + parameter.path], "\(parameter.path)")
            switch parameter.value {
            case .tensor(let tensor): #expect(tensor.values == trained, "\(parameter.path)")
            case .stored(let stored): #expect(try stored.values().values == trained, "\(parameter.path)")
            case .weight: Issue.record("a vocoder has no weight matrix")
            }
        }
    }

    @Test func whatDoesNotFitIsRefusedByName() throws {
        let part = try PartRun()
        let windows = try part.windows(2)
        func check(
            _ message: String, _ objective: TrainingObjective = .speechTower, _ change: (inout TrainingRecipe) -> Void
        ) throws {
            var recipe = part.recipe(objective, data: windows, output: "refused", steps: 1)
            if objective != .vocoder { recipe.heads = [PartRun.head("phone", .rows)] }
            change(&recipe)
            let error = #expect(throws: LyraError.self) { try TrainingRun(recipe).run() }
            #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
        }
        try check("speech_tower\" needs a [[head]]") { $0.heads = [] }
        try check("only stage \"pretrain\" has, not stage 2") { $0.stage = .instructions }
        try check("two heads called \"phone\"") { $0.heads += $0.heads }
        try check("head.labels is 0") { $0.heads[0].labels = 0 }
        try check("head.name is step") { $0.heads[0].name = "step" }
        try check("head.name is validation_loss") { $0.heads[0].name = "validation_loss" }
        try check("a [[head]] is set, which objective \"vocoder\"", .vocoder) { $0.heads = [PartRun.head("x", .rows)] }
        try check("augment.time_masks is set, which objective", .visionTower) { $0.augmentation.timeMasks = 1 }
        try check("\"model.norm.weight\", which objective \"speech_tower\" cannot train") {
            $0.trained.append("model.norm.weight")
        }
        // The data have no label of such a name.
        try check("neither \"row_labels\" nor \"sequence_labels\" has labels for \"colour\"") {
            $0.heads[0].name = "colour"
        }
        let bare = try part.files.write(#"{"speech": "window0.wav"}"#, to: "bare.jsonl")
        try check("neither \"row_labels\" nor \"sequence_labels\" has labels for \"phone\"") { $0.data = [bare] }
        try check("label 2 of \"phone\" is not 0 to 1") { $0.heads[0].labels = 2 }
        try check("the item has 0 images and videos", .visionTower) { _ in }
        try check("there are no units", .vocoder) { _ in }
        let heads = part.files.path("other.safetensors")
        let other = try LabelHeads.write(["word"], to: heads)
        try check("no tensor \"heads.phone.weight\"") { $0.headsStart = other }
        try FileManager.default.createDirectory(
            atPath: part.files.path("refused"), withIntermediateDirectories: true)
        let own = try LabelHeads.write(["phone"], to: part.files.path("refused/heads.safetensors"))
        try check("would replace them") { $0.headsStart = own }
        // A checkpoint that has no such tower.
        try FileManager.default.removeItem(atPath: part.files.path("start/model_zoo/vision"))
        try FileManager.default.removeItem(atPath: part.files.path("start/model_zoo/audio/vocoder"))
        try check("\"vision_tower\" should be trained, but the checkpoint has no such part", .visionTower) { _ in }
        // Of the parts that are there, only those are proposed that the objective trains.
        let error = #expect(throws: LyraError.self) {
            var recipe = part.recipe(.speechTower, data: windows, output: "refused", steps: 1)
            (recipe.heads, recipe.trained) = ([PartRun.head("phone", .rows)], ["adapter"])
            try TrainingRun(recipe).run()
        }
        #expect(error?.message.hasSuffix("(adapter.name); the parts that can be trained here are speech_tower") == true)
        try check("\"vocoder\" should be trained, but the checkpoint has no such part", .vocoder) { _ in }
    }

    /// Also of a run that got as far as its log, and of one that finds a directory.
    @Test func aRunThatTrainsNothingLeavesNothing() throws {
        let part = try PartRun()
        let windows = try part.windows(2), bad = try part.files.write(#"{"speech": "none.wav"}"#, to: "bad.jsonl")
        func check(_ change: (inout TrainingRecipe) -> Void, leaves: [String]?) throws {
            var recipe = part.recipe(.speechTower, data: windows, output: "deep/out", steps: 1)
            recipe.heads = [PartRun.head("phone", .rows)]
            change(&recipe)
            #expect(throws: LyraError.self) { try TrainingRun(recipe).run() }
            let left = try? FileManager.default.contentsOfDirectory(atPath: part.files.path("deep/out"))
            #expect(left == leaves)
        }
        try check({ $0.trained = ["nothing"] }, leaves: nil)
        try check({ $0.data = [part.files.path("absent.jsonl")] }, leaves: nil)
        try check({ $0.data = [bad] }, leaves: nil)
        try FileManager.default.createDirectory(
            atPath: part.files.path("deep/out/mine"), withIntermediateDirectories: true)
        try check({ $0.data = [bad] }, leaves: ["mine"])
        // An adapter is made before the data are read.
        func freshAdapter(_ recipe: inout TrainingRecipe) {
            var other = TrainingRecipe(stage: .instructions)
            (other.model, other.output, other.data, other.adapter.name) = (recipe.model, recipe.output, [bad], "fresh")
            recipe = other
        }
        try check(freshAdapter, leaves: ["mine"])
    }

    @Test func aRecordingMustFitOneWindowAndItsUnits() throws {
        let part = try PartRun()
        let long = try part.files.tone(samples: 16_001, to: "long.wav"), exact = try part.files.tone(samples: 16_000)
        func line(_ path: String) -> String { #"{"speech": "\#(path)", "row_labels": {"phone": [0]}}"# }
        let data = try part.files.write([exact, long].map(line).joined(separator: "\n"), to: "long.jsonl")
        var recipe = part.recipe(.speechTower, data: data, output: "run", steps: 1)
        recipe.heads = [PartRun.head("phone", .rows)]
        let error = #expect(throws: LyraError.self) { try TrainingRun(recipe).run() }
        #expect(error?.message.contains("1 of 2 examples are bad") == true, "\(error?.message ?? "")")
        #expect(error?.message.contains("longer than a window of 1.0 s") == true)
        // The first second of each.
        recipe.media.speechSeconds = 1
        #expect(try TrainingRun(recipe).run() == .finished)
        let units = try part.files.write(#"{"tgt_speech": "\#(exact)", "tgt_unit": "<1><2><1>"}"#, to: "units.jsonl")
        let short = #expect(throws: LyraError.self) {
            try TrainingRun(part.recipe(.vocoder, data: units, output: "run2", steps: 1)).run()
        }
        #expect(short?.message.contains("3 units of 320 samples are 960 samples at 16000 Hz") == true)
    }
}

/// Heads in a file.
private enum LabelHeads {
    static func write(_ names: [String], to path: String) throws -> String {
        var recipe = TrainingRecipe(stage: .pretrain, objective: .speechTower)
        recipe.heads = names.map { PartRun.head($0, .rows) }
        try RunHeads(recipe, width: 48).write(to: path)
        return path
    }
}
