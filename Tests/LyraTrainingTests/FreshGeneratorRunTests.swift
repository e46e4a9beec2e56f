import Foundation
import Lyra
import LyraBase
import LyraFormats
import LyraModel
import LyraTensor
import LyraTools
import TestSupport
import Testing

@testable import LyraTraining

/// Stage 4 makes a speech generator for a checkpoint that has none.
@Suite(.timeLimit(.minutes(5))) struct FreshGeneratorRunTests {
    private func losses(_ recipe: TrainingRecipe, stop: Int = .max) throws -> (losses: [Double], result: String?) {
        var losses: [Double] = []
        let run = TrainingRun(recipe)
        try run.run {
            losses.append($0.loss)
            return $0.step == stop ? .stop : .proceed
        }
        return (losses, run.result)
    }

    private func tensors(_ path: String) throws -> [String: [Float]] {
        try Safetensors(path: path).tensors.mapValues { try $0.values().values }
    }

    /// Whether numbers are the same, apart from rounding to BF16's eight bits.
    private func areRounded(_ a: [Float], _ b: [Float]) -> Bool {
        a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= abs($1) / 256 }
    }

    @Test func theResultHasTheGeneratorAndSpeaks() throws {
        let start = try FreshGeneratorRun(), recipe = start.smallRecipe("run", steps: 4)
        let (losses, path) = try losses(recipe), result = try #require(path)
        // The scores of units differ by a tenth at first, and the positions of an answer share the difference.
        let tokenizer = try Checkpoint.open(start.model).tokenizer
        let wanted = try FreshGeneratorRun.answers.map {
            FreshGeneratorRun.firstLoss(positions: (try tokenizer.encode($0).count + 1) * FreshGeneratorRun.upsampling)
        }
        #expect(abs(losses[0] / ((wanted[0] + wanted[1]) / 2) - 1) < 0.06, "\(losses[0]), not \(wanted)")
        #expect(losses[3] < losses[0])
        let json = try String(contentsOfFile: result + "/config.json", encoding: .utf8)
        for member in [
            #""speech_generator_type": "ctc""#, #""ctc_decoder_config": "(1,16,2,24)""#, #""ctc_upsample_factor": 2"#,
            #""unit_vocab_size": 10"#, #""speech_generator_context_rows": 1"#,
            #""model_type": "Lyra_Qwen2VL_SpeechGenerator""#,
        ] { #expect(json.contains(member), "\(member) in \(json)") }
        // As published, in a file of its own that the index names.
        let stored = try tensors(result + "/speech_generator.safetensors")
        let state = try tensors(start.files.path("run/states/step-000000004.safetensors"))
        #expect(stored.count == 4 + 12)
        for (name, values) in stored { #expect(areRounded(values, state["parameter." + name] ?? []), "\(name)") }

        let model = try Model(path: result)
        #expect(model.checkpoint.generator?.configuration.sizes == FreshGeneratorRun.configuration.sizes)
        var options = SessionOptions()
        (options.sampling, options.maxNewTokens, options.speaks) = (.greedy, 3, true)
        let session = try Session(model, options: options)
        try session.feed(text: "Well?")
        try session.endTurn()
        while session.isAnswering { _ = try session.step() }
        #expect(session.readUnits().allSatisfy { (0..<10).contains($0) } && !session.readAudio().isEmpty)

        let file = start.files.path("model.gguf")
        let converter = try ModelConverter(path: result, options: CheckpointOptions(), recipe: .bf16)
        _ = try converter.write(to: file)
        let opened = try Checkpoint.open(file)
        #expect(opened.generator?.configuration.sizes == FreshGeneratorRun.configuration.sizes)

        // The next run trains this generator: it starts where the last ended.
        let (next, _) = try self.losses(start.recipe("next", model: result, steps: 1))
        #expect(next[0] < losses[3])
        _ = try self.losses(start.smallRecipe("again", model: result, steps: 1))
        withExtendedLifetime(start) {}
    }

    /// The same numbers, bit for bit; and others with another generator or seed, which are refused.
    @Test func aRunThatIsResumedHasTheSameResult() throws {
        let start = try FreshGeneratorRun()
        let whole = try losses(start.smallRecipe("whole", steps: 4))
        let parts = start.smallRecipe("parts", steps: 4)
        let first = try losses(parts, stop: 2)
        #expect(first.result == nil)
        var other = parts
        other.generator.inner = 32
        refuse("generator.inner is 32, was 24", other)
        other = parts
        other.generator.contextRows = 0
        refuse("generator.context_rows is 0, was not set", other)
        let rest = try losses(parts)
        #expect(first.losses + rest.losses == whole.losses && Set(whole.losses).count == 4)
        let name = "/speech_generator.safetensors"
        #expect(try tensors(#require(rest.result) + name) == tensors(#require(whole.result) + name))
        // As published: an answer's first token has no context.
        var published = start.smallRecipe("published", steps: 1)
        published.generator.contextRows = 0
        let result = try #require(losses(published).result)
        #expect(try Checkpoint.open(result).generator?.configuration.contextRows == 0)
    }

    /// Plain Qwen2-VL stays what it is, in both layouts of names. Tensors that are not trained are there too.
    @Test(arguments: ["published", "newer"]) func aPlainQwen2VLGetsAGenerator(_ layout: String) throws {
        let start = try FreshGeneratorRun(), plain = Golden.path("qwen2vl/" + layout)
        var recipe = start.smallRecipe("run", model: plain, steps: 2)
        recipe.trained = ["speech_generator.output_proj.*"]
        let result = try #require(losses(recipe).result)
        let model = try Model(path: result), old = try Checkpoint.open(plain)
        #expect(model.checkpoint.configuration.isPlainQwen2VL && model.checkpoint.visionNetworks.isPresent)
        let fresh = FreshGenerator(FreshGeneratorRun.configuration, language: old.configuration.language, seed: 5)
        let weights = fresh.weights(precision: .exact)
        for (name, stored) in try Safetensors(path: result + "/speech_generator.safetensors").tensors {
            let isSame = try areRounded(stored.values().values, weights.floats(name, stored.shape).values)
            #expect(isSame != name.contains("output_proj"), "\(name)")
        }
        var options = SessionOptions()
        options.speaks = true
        let error = #expect(throws: LyraError.self) { try Session(model, options: options) }
        #expect(error?.message.contains("no vocoder was found") == true, "\(error?.message ?? "")")
    }

    // MARK: Refusals

    private func refuse(
        _ message: String, _ recipe: TrainingRecipe, at location: SourceLocation = #_sourceLocation
    ) {
        let error = #expect(throws: LyraError.self, sourceLocation: location) { try TrainingRun(recipe).run() }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")", sourceLocation: location)
    }

    @Test func sizesThatDoNotFitAreRefusedByName() throws {
        let start = try FreshGeneratorRun()
        func refuse(
            _ message: String, model: String? = nil, at location: SourceLocation = #_sourceLocation,
            _ change: (inout TrainingRecipe) -> Void
        ) {
            var recipe = start.smallRecipe("refused", model: model, steps: 1)
            change(&recipe)
            self.refuse(message, recipe, at: location)
        }
        refuse("generator.dim is 16; it must be an even multiple of generator.heads, 3") { $0.generator.heads = 3 }
        refuse("generator.dim is 16; it must be an even multiple of generator.heads, 32") { $0.generator.heads = nil }
        refuse("generator.layers is 0; it must be 1 to 256") { $0.generator.layers = 0 }
        refuse("generator.context_rows is 5; it must be 0 to 4") { $0.generator.contextRows = 5 }
        // 256 · (4 · 2⁴⁰ + 3 · 2⁴²) parameters: more than any address space.
        refuse("generator.dim 1048576, generator.inner 4194304") {
            ($0.generator.layers, $0.generator.dim, $0.generator.inner) = (256, 1 << 20, 1 << 22)
        }
        refuse("the vocoder has 100 units, fewer than the 101 of the fresh speech generator") {
            $0.generator.units = 101
        }
        refuse("is not 0 to 2") { $0.generator.units = 3 }
        refuse("generator.layers is set, which stage 2 does not use") { $0.stage = .instructions }
        // Fixture a has a speech generator of (2, 32, 2, 64) and 100 units.
        let own = Golden.path("a/lyra")
        refuse("generator.layers is 1, but the checkpoint's is 2; generator.dim is 16, but", model: own) { _ in }
        refuse("has a speech generator, which stage 4 trains as it is: generator.context_rows is 1", model: own) {
            $0.generator = .init()
            $0.generator.contextRows = 1
        }
        refuse("a one-file model cannot be rewritten", model: try file(of: start)) { _ in }
        // Its tensors, but not its keys.
        let config = try String(contentsOfFile: own + "/config.json", encoding: .utf8)
        let stripped = start.files.path("stripped")
        try FileManager.default.copyItem(atPath: own, toPath: stripped)
        try config.replacingOccurrences(of: "\"speech_generator_type\": \"ctc\",", with: "")
            .write(toFile: stripped + "/config.json", atomically: true, encoding: .utf8)
        refuse("but config.json names no speech generator", model: stripped) { _ in }
    }

    private func file(of start: FreshGeneratorRun) throws -> String {
        let path = start.files.path("bare.gguf")
        _ = try ModelConverter(path: start.model, options: CheckpointOptions(), recipe: .bf16).write(to: path)
        return path
    }

    /// `ctc_decoder_config` (2, 4096, 32, 11008), 25 positions a token, 1000 units; the row of the prompt is lyra's
    /// own.
    @Test func theDefaultsArePublished() throws {
        let sizes = try TrainingRecipe(stage: .generator).generator.configuration().sizes
        #expect(sizes == [2, 4096, 32, 11_008, 25, 1000, 1])
        let text = TrainingRecipe(stage: .generator).toml
        for line in [
            "[generator]", "# layers = 2", "# dim = 4096", "# heads = 32", "# inner = 11008", "# upsampling = 25",
            "# units = 1000", "# context_rows = 1",
        ] { #expect(text.contains("\n\(line)\n"), "\(line)") }
        let source = "stage = 4\n[generator]\nlayers = 3\ndim = 64\nheads = 4\ninner = 96\nupsampling = 7\nunits = 9\n"
        let recipe = try TrainingRecipe(toml: Array((source + "context_rows = 0").utf8), source: "r.toml")
        #expect(try recipe.generator.configuration().sizes == [3, 64, 4, 96, 7, 9, 0])
        #expect(try TrainingRecipe(toml: Array(recipe.toml.utf8), source: "printed") == recipe)
    }
}
