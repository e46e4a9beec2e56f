import LyraBase
import Testing

@testable import LyraTraining

@Suite struct RecipeTests {
    private func read(_ toml: String, stage: TrainingStage? = nil) throws -> TrainingRecipe {
        try TrainingRecipe(toml: Array(toml.utf8), source: "r.toml", stage: stage)
    }

    /// The paper's table of hyper-parameters.
    @Test func theDefaultsAreThePapers() {
        let table:
            [(TrainingStage, rate: Double, epochs: Int, warmup: Double, rank: Int?, alpha: Double?, lcmr: Double)] = [
                (.projector, 1e-3, 1, 0.03, nil, nil, 0), (.instructions, 2e-4, 1, 0.03, 64, 16, 0.5),
                (.longSpeech, 1e-4, 3, 0.03, 128, 256, 0), (.generator, 2e-4, 3, 0.09, nil, nil, 0),
            ]
        for row in table {
            let recipe = TrainingRecipe(stage: row.0)
            #expect(recipe.optimizer.learningRate == row.rate && recipe.batch.epochs == row.epochs)
            #expect(recipe.optimizer.warmup == row.warmup && recipe.optimizer.weightDecay == 0)
            #expect(recipe.optimizer.schedule == .cosine && recipe.loss.regularizer == row.lcmr)
            if let rank = row.rank { #expect(recipe.adapter.rank == rank && recipe.adapter.alpha == row.alpha) }
        }
        #expect(TrainingRecipe(stage: .instructions).loss.gamma == 0.1)
        #expect(TrainingRecipe(stage: .longSpeech).adapter.name == "long_speech")
    }

    @Test func aPrintedRecipeIsReadToTheSame() throws {
        for stage in TrainingStage.allCases {
            let recipe = TrainingRecipe(stage: stage)
            #expect(try read(recipe.toml) == recipe)
        }
        var recipe = TrainingRecipe(stage: .instructions)
        recipe.model = "a \"quoted\"\\path\n\u{7F}é"
        recipe.data = ["x.json", ""]
        (recipe.towers, recipe.soundProjector, recipe.mediaDirectory) = ("t", "s", "m")
        (recipe.seed, recipe.precision, recipe.threads) = (.max, .fast, 2)
        recipe.trained = ["adapter", "model.layers.0.*"]
        recipe.groups = [.init(), .init()]
        (recipe.groups[0].parameters, recipe.groups[0].learningRate) = (["adapter"], 0.1 + 0.2)
        (recipe.groups[1].parameters, recipe.groups[1].weightDecay) = (["projector", "x"], 1e-5)
        (recipe.dataWeights, recipe.adapter.name, recipe.adapter.start) = ([1, 0.5], "", "s")
        (recipe.batch.tokens, recipe.loss.temperature) = (4096, 0.07)
        (recipe.optimizer.schedule, recipe.optimizer.epsilon) = (.linear, 5e-9)
        (recipe.batch.steps, recipe.extractor.blocks, recipe.extractor.gap) = (1000, 4, 7)
        (recipe.media.imagePixels, recipe.media.speechSeconds, recipe.media.maxWindows) = (3136, 30, 9)
        (recipe.validation.data, recipe.validation.exactMatch) = (["v.json"], true)
        #expect(try read(recipe.toml) == recipe)
        var tower = TrainingRecipe(stage: .pretrain, objective: .speechTower)
        #expect(tower.trained == ["speech_tower"])
        tower.heads = [.init(), .init()]
        (tower.heads[0].name, tower.heads[0].labels) = ("phone", 40)
        (tower.heads[1].name, tower.heads[1].kind, tower.heads[1].labels) = ("word", .sequence, 900)
        (tower.heads[1].weight, tower.headsStart, tower.augmentation.timeMasks) = (0.5, "h", 2)
        #expect(try read(tower.toml) == tower)
    }

    /// With a limit on tokens all epochs have the draws of the first.
    @Test func aShareOfAFileNeedsOneEpochWithALimitOnTokens() throws {
        var recipe = TrainingRecipe(stage: .instructions)
        (recipe.model, recipe.data, recipe.output) = ("m", ["a", "b"], "o")
        (recipe.dataWeights, recipe.batch.tokens) = ([2, 1.5], 100)
        try recipe.check()
        recipe.batch.epochs = 2
        let error = #expect(throws: LyraError.self) { try recipe.check() }
        #expect(error?.message.contains("data_weights has 1.5; with batch.tokens") == true)
        (recipe.batch.epochs, recipe.batch.steps) = (1, 5)
        #expect(throws: LyraError.self) { try recipe.check() }
        recipe.dataWeights = [2, 1]
        try recipe.check()
    }

    @Test func aFileChangesTheDefaultsOfItsStage() throws {
        let recipe = try read(
            "stage = 3\nmodel = 'm'\n[batch]\nsize = 2\nepochs = 5\n[[group]]\nparameters = ['x']\nlearning_rate = 1")
        var expected = TrainingRecipe(stage: .longSpeech)
        (expected.model, expected.batch.size, expected.batch.epochs) = ("m", 2, 5)
        expected.groups = [.init()]
        (expected.groups[0].parameters, expected.groups[0].learningRate) = (["x"], 1)
        #expect(recipe == expected)
        #expect(try read("stage = 3\nadapter.rank = 8", stage: .instructions).adapter.alpha == 16)
        #expect(try read("stage = \"pretrain\"").stage == .pretrain)
        let vocoder = try read("stage = 'pretrain'\nobjective = 'vocoder'")
        #expect(vocoder == TrainingRecipe(stage: .pretrain, objective: .vocoder) && vocoder.trained == ["vocoder"])
    }

    @Test(arguments: [
        ("model = 'm'", "the stage is missing"), ("stage = 5", "r.toml:1:9: stage must be 1, 2, 3, 4"),
        ("stage = 2\nmodle = 'm'", "r.toml:2:1: there is no key \"modle\"; did you mean model?"),
        (
            "stage = 2\n[optimizer]\nlearning_rat = 1",
            "r.toml:3:1: there is no key \"optimizer.learning_rat\"; did you mean"
        ),
        ("stage = 2\nlearning_rate = 1", "did you mean optimizer.learning_rate?"),
        ("stage = 2\nqqqqqqqqqqqq = 1", "--print-recipe prints all keys"),
        ("stage = 2\n[bach]\nsize = 1", "no key \"bach\""),
        ("stage = 2\nbatch = 1", "no key \"batch\""), ("stage = 2\n[[batch]]", "no key \"batch\""),
        ("stage = 2\nbatch.size = 0", "2:14: batch.size is 0; it must be 1 to"),
        ("stage = 2\nbatch.size = 1.5", "batch.size must be a whole number, not a number with a fraction"),
        ("stage = 2\nbatch.size = '1'", "must be a whole number, not \"1\""),
        ("stage = 2\ndata = 'x'", "a list of values"),
        (
            "stage = 2\noptimizer.schedule = 'cosin'",
            "must be one of \"cosine\", \"linear\", \"constant\", not \"cosin\""
        ),
        ("stage = 2\noptimizer.learning_rate = nan", "is nan; it must be 0 or more"),
        ("stage = 2\nextractor.keep = 0", "it must be above 0 and at most 1"), ("stage = 2\ntrained = []", "not empty"),
        (
            "stage = 2\n[[group]]\nparameter = []",
            "3:1: there is no key \"group.parameter\"; did you mean group.parameters?"
        ),
        ("stage = 2\n[group]\nx = 1", "under the header [[group]]"),
        ("stage = 2\nobjective = 'vocoder'", "r.toml:2:13: objective is \"vocoder\", which only stage \"pretrain\""),
        ("stage = 'pretrain'\nobjective = 'vocodr'", "objective must be one of \"language\", \"speech_tower\""),
        ("stage = 'pretrain'\n[[head]]\nlable = 3", "did you mean head.labels?"),
        ("stage = 'pretrain'\n[[head]]\nkind = 'row'", "must be one of \"rows\", \"sequence\""),
        ("stage = 'pretrain'\n[[head]]\nname = 'a.b'", "head.name is a.b; it must be letters, digits"),
        ("stage = 2\n[[group]]\nlearning_rate = -1", "0 or more"),
        ("stage = 2\nmodel = 1979-05-27", "r.toml:2:9: \"1979-05-27\" is a date"),
    ])
    func aWrongKeyOrValueIsRefusedWithItsPlace(_ toml: String, _ reason: String) throws {
        let error = #expect(throws: LyraError.self) { try read(toml) }
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
    }

    @Test(arguments: [
        ("stage = 2\nloss.crop = 8", "loss.crop is set, which stage 2 does not use"),
        ("stage = 2\nloss.mel = 0.5", "loss.mel"), ("stage = 1\naugment.time_width = 1.0", "augment.time_width"),
        ("stage = 1\nheads = 'h'", "heads is set"),
        ("stage = 1\n[[head]]\nname = 'x'\nlabels = 2", "a [[head]] is set"),
        ("stage = 4\nloss.regularizer = 0.5", "loss.regularizer is set, which stage 4 does not use"),
        ("stage = 4\nadapter.rank = 8", "adapter.rank"),
        ("stage = 'pretrain'\nloss.crop = 8", "loss.crop is set, which stage \"pretrain\" does not use"),
        ("stage = 'pretrain'\nobjective = 'vocoder'\nloss.gamma = 0.2", "loss.gamma is set, which objective"),
        ("stage = 'pretrain'\nobjective = 'vocoder'\nvalidation.exact_match = true", "validation.exact_match"),
        ("stage = 'pretrain'\nobjective = 'vocoder'\nextractor.gap = 2", "extractor.gap"),
        ("stage = 'pretrain'\nobjective = 'vocoder'\nmedia.speech_seconds = 2.0", "media.speech_seconds"),
        ("stage = 'pretrain'\nobjective = 'speech_tower'\nloss.regularizer = 0.5", "loss.regularizer"),
        ("stage = 'pretrain'\nobjective = 'speech_tower'\nmedia.max_windows = 2", "media.max_windows"),
        ("stage = 'pretrain'\nobjective = 'vision_tower'\nbatch.longest = 99", "batch.longest"),
        ("stage = 'pretrain'\nobjective = 'vision_tower'\nadapter.name = 'speech'", "adapter.name"),
    ])
    func keysThatARunDoesNotUseAreRefusedByName(_ toml: String, _ reason: String) throws {
        var recipe = try read(toml)
        (recipe.model, recipe.data, recipe.output) = ("m", ["d"], "o")
        if recipe.objective == .speechTower || recipe.objective == .visionTower {
            recipe.heads = [.init()]
            (recipe.heads[0].name, recipe.heads[0].labels) = ("h", 2)
        }
        let error = #expect(throws: LyraError.self) { try recipe.check() }
        #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
        // A printed recipe has every key, with its default.
        var plain = try read(TrainingRecipe(stage: recipe.stage, objective: recipe.objective).toml)
        (plain.model, plain.data, plain.output) = ("m", ["d"], "o")
        if !recipe.heads.isEmpty, ![.language, .vocoder].contains(recipe.objective) { plain.heads = recipe.heads }
        try plain.check()
    }

    /// Each row of the table names a key or a table of keys.
    @Test func theTableOfUsesHasNoUnknownName() {
        let known = Set(RecipeField.all.flatMap { [$0.name, String($0.table)] })
        for use in RecipeField.limitedUses { #expect(known.contains(use.name), "\(use.name)") }
    }

    @Test func whatTheNumbersDependOnMustStayTheSame() throws {
        var recipe = TrainingRecipe(stage: .instructions)
        (recipe.model, recipe.data, recipe.output) = ("m", ["d"], "o")
        try recipe.check()
        var other = recipe
        (other.output, other.saving.minutes, other.threads, other.validation.every) = ("p", 1, 1, 7)
        #expect(other.differences(from: recipe).isEmpty)
        (other.batch.size, other.batch.steps) = (8, 100)
        #expect(other.differences(from: recipe) == ["batch.size is 8, was 4", "batch.steps is 100, was not set"])
        // Stage 4 does not use the rank of an adapter, which earlier versions accepted.
        var spoken = TrainingRecipe(stage: .generator), saved = spoken
        (saved.adapter.rank, saved.loss.gamma, saved.seed) = (8, 0.5, 3)
        #expect(spoken.differences(from: saved) == ["seed is 0, was 3"])
        (spoken.stage, saved.stage, spoken.seed) = (.instructions, .instructions, 3)
        #expect(spoken.differences(from: saved).map { $0.prefix { $0 != " " } } == ["adapter.rank", "loss.gamma"])
        (other.extractor.blocks, other.extractor.gap) = (1, 1)
        #expect(throws: LyraError.self) { try other.check() }
        recipe.model = ""
        let error = #expect(throws: LyraError.self) { try recipe.check() }
        #expect(error?.message.contains("model is missing") == true)
    }
}
