import LyraBase
import LyraModel

extension RecipeField {
    /// All keys but `stage` and `objective`, in the order in which a recipe is written: table by table.
    static var all: [RecipeField] {
        general + adapter + generator + optimizer + batch + loss + augmentation + extractor + media + validation
            + saving
    }

    /// More than any machine has; keeps sums of counts from overflowing.
    private static let countLimit = 1 << 40

    private static var general: [RecipeField] {
        [
            .init("model", \.model, "The checkpoint that the run starts from.", isFixed: false),
            .init(
                "towers", optional: \.towers, example: "\"model_zoo\"",
                "A directory with the towers, searched after the places that the checkpoint names.", isFixed: false),
            .init(
                "speech_projector", optional: \.speechProjector, example: "\"projector/non_lora_trainables.bin\"",
                "A file with a speech projector in place of the checkpoint's, as stage 1 writes it.", isFixed: false),
            .init(
                "sound_projector", optional: \.soundProjector, example: "\"mm_audio_projector.bin\"",
                "A file with the projector of other sound.", isFixed: false),
            .init("data", \.data, "Files of examples: LLaVA-style JSON or JSONL.", isFixed: false),
            .init(
                "data_weights", \.dataWeights,
                "How often an epoch has each example of each file: 2.0 for twice, 0.5 for every second; [] for once.",
                rule: Rule(words: "a list of numbers above 0") { $0.allSatisfy { $0 > 0 && $0.isFinite } }),
            .init(
                "media_directory", optional: \.mediaDirectory, example: "\"recordings\"",
                "Where relative paths of media start; without it, at the file that names them.", isFixed: false),
            .init("output", \.output, "The directory for the log, saved states and results.", isFixed: false),
            .init(
                "trained", \.trained,
                "What is trained: \(TrainableSelection.partNames.joined(separator: ", ")), or names of tensors with *.",
                rule: .listNotEmpty()),
            .init("system_prompt", \.systemPrompt, "For conversations without a system prompt of their own."),
            .init(
                "heads", optional: \.headsStart, example: "\"run/heads.safetensors\"",
                "A file of heads to start from, as a run of a tower writes it; without it, fresh ones.",
                isFixed: false),
            .init("seed", \.seed, "Of fresh parameters, the order of examples, and dropout."),
            .init(
                "precision", optional: \.precision, example: "\"exact\"",
                "exact: products in F32; fast: products in BF16. Without it, as the checkpoint's weights suggest."),
            .init(
                "recompute", \.recomputesLayers,
                "Keep only the inputs of layers until the gradient is computed: less memory, a third more time.",
                isFixed: false),
            .init(
                "threads", optional: \.threads, example: "2",
                "Compute threads; without it, one for each processor.", isFixed: false, rule: .within(1...256)),
        ]
    }

    private static var adapter: [RecipeField] {
        [
            .init(
                "adapter.name", \.adapter.name,
                "The adapter that the model computes with; made fresh if the checkpoint lacks it. Empty for none."),
            .init(
                "adapter.needs_speech", \.adapter.needsSpeech,
                "Stage 4 uses the adapter only for examples with speech, as sessions with the adapter auto do."),
            .init(
                "adapter.start", optional: \.adapter.start, example: "\"speech_lora\"",
                "The directory of an adapter to start from, in place of the checkpoint's or a fresh one.",
                isFixed: false),
            .init("adapter.rank", \.adapter.rank, "r of a fresh adapter.", rule: .within(1...65_536)),
            .init("adapter.alpha", \.adapter.alpha, "The update is scaled by alpha / rank.", rule: .positive),
            .init(
                "adapter.dropout", \.adapter.dropout, "The share of the adapter's inputs that are dropped.",
                rule: .belowOne),
            .init(
                "adapter.targets", \.adapter.targets, "Matrices of each layer that a fresh adapter updates.",
                rule: .listNotEmpty()),
        ]
    }

    private static var generator: [RecipeField] {
        typealias Limits = SpeechGeneratorConfiguration.Limits
        return [
            .init(
                "generator.layers", optional: \.generator.layers, example: "2",
                "Layers of the speech generator. Stage 4 makes one if the checkpoint has none; one that is there must "
                    + "have this number. Without the key, 2.", rule: .within(Limits.layers)),
            .init(
                "generator.dim", optional: \.generator.dim, example: "4096",
                "Width of the layers, an even multiple of heads; without the key, 4096.", rule: .within(Limits.dim)),
            .init(
                "generator.heads", optional: \.generator.heads, example: "32",
                "Attention heads of a layer; without the key, 32.", rule: .within(Limits.heads)),
            .init(
                "generator.inner", optional: \.generator.inner, example: "11008",
                "Width inside each layer's MLP; without the key, 11008.", rule: .within(Limits.inner)),
            .init(
                "generator.upsampling", optional: \.generator.upsampling, example: "25",
                "Positions for each token of an answer; each can speak a unit. Without the key, 25.",
                rule: .within(Limits.upsampling)),
            .init(
                "generator.units", optional: \.generator.units, example: "1000",
                "Speech units are 0 to units - 1; without the key, 1000.", rule: .within(Limits.units)),
            .init(
                "generator.context_rows", optional: \.generator.contextRows, example: "1",
                "Prompt tokens that it reads before an answer; without the key, 1. The published models have 0: an "
                    + "answer's first token can then speak one unit only.", rule: .within(Limits.contextRows)),
        ]
    }

    private static var optimizer: [RecipeField] {
        [
            .init(
                "optimizer.method", \.optimizer.method,
                "adamw, or muon: Muon for the matrices of layers, AdamW for embeddings, heads, convolutions, norms and "
                    + "biases. Training from nothing needs fewer updates with muon."),
            .init(
                "optimizer.learning_rate", \.optimizer.learningRate,
                "The highest learning rate. A step of Muon is as long as one of AdamW.", rule: .notNegative),
            .init("optimizer.schedule", \.optimizer.schedule, "cosine, linear or constant, after the warm-up."),
            .init(
                "optimizer.warm_up", \.optimizer.warmup, "The share of the updates over which the rate rises.",
                rule: .within(0...1)),
            .init(
                "optimizer.weight_decay", \.optimizer.weightDecay, "Of matrices; norms and biases have none.",
                rule: .notNegative),
            .init("optimizer.beta1", \.optimizer.beta1, "Decay of the mean of gradients.", rule: .belowOne),
            .init("optimizer.beta2", \.optimizer.beta2, "Decay of the mean of their squares.", rule: .belowOne),
            .init(
                "optimizer.epsilon", \.optimizer.epsilon, "Keeps a division from zero.", rule: .within(1e-30...1)),
            .init(
                "optimizer.momentum", \.optimizer.momentum, "Of Muon: the share of it that an update keeps.",
                rule: .belowOne),
            .init(
                "optimizer.clipping", \.optimizer.clipping, "The longest norm of all gradients together.",
                rule: .positive),
            .init(
                "optimizer.failure_limit", \.optimizer.failureLimit,
                "An update whose gradient is not finite is left out; this many in a row stop the run.", isFixed: false,
                rule: .within(1...countLimit)),
        ]
    }

    private static var batch: [RecipeField] {
        [
            .init("batch.size", \.batch.size, "Examples of a batch, of each process.", rule: .within(1...65_536)),
            .init(
                "batch.tokens", optional: \.batch.tokens, example: "16384",
                "The most prompt rows and tokens of a batch, by estimate; without it, any number.",
                rule: .within(1...countLimit)),
            .init(
                "batch.accumulation", \.batch.accumulation, "Batches of an update, of each process.",
                rule: .within(1...countLimit)),
            .init("batch.epochs", \.batch.epochs, "Passes through the data.", rule: .within(1...countLimit)),
            .init(
                "batch.steps", optional: \.batch.steps, example: "1000",
                "Updates of the run, in place of epochs; those of a saved state end the run there.",
                rule: .within(1...countLimit)),
            .init(
                "batch.longest", \.batch.longest,
                "The most prompt rows and tokens of an example or its transcript; a longer one is left out and "
                    + "counted.",
                rule: .within(1...countLimit)),
            .init(
                "batch.bad_share", \.batch.badShare,
                "The share of examples that may be left out because a file is missing or damaged, or they do not fit.",
                isFixed: false, rule: .within(0...1)),
            .init(
                "batch.loaders", \.batch.loaders, "Threads that decode media.", isFixed: false, rule: .within(0...256)),
            .init(
                "batch.ahead", \.batch.ahead, "Batches that they make ahead.", isFixed: false,
                rule: .within(0...65_536)),
        ]
    }

    private static var loss: [RecipeField] {
        [
            .init(
                "loss.regularizer", \.loss.regularizer,
                "λ: the weight of the latent cross-modality regularizer; 0 for none.", rule: .notNegative),
            .init(
                "loss.temperature", optional: \.loss.temperature, example: "0.06",
                "τ of the regularizer; without it, the checkpoint's.", rule: .positive),
            .init("loss.gamma", \.loss.gamma, "γ of its soft minimum.", rule: .positive),
            .init(
                "loss.mel", \.loss.mel, "A vocoder's: the weight of the difference of log-mel spectrograms.",
                rule: .notNegative),
            .init(
                "loss.stft", \.loss.stft, "A vocoder's: the weight of the multi-resolution STFT loss.",
                rule: .notNegative),
            .init(
                "loss.duration", \.loss.duration, "A vocoder's: the weight of the duration predictor's loss.",
                rule: .notNegative),
            .init(
                "loss.crop", \.loss.crop,
                "A vocoder's: frames of a piece of a recording. Training takes a random piece in each epoch, "
                    + "validation always the same.", rule: .within(1...65_536)),
        ]
    }

    private static var augmentation: [RecipeField] {
        [
            .init(
                "augment.time_masks", \.augmentation.timeMasks,
                "Stretches of a speech tower's input that training hides (SpecAugment); validation sees all.",
                rule: .within(0...1000)),
            .init(
                "augment.time_width", \.augmentation.timeWidth, "The longest of them, in seconds.", rule: .notNegative),
            .init(
                "augment.frequency_masks", \.augmentation.frequencyMasks, "Bands of mels that training hides.",
                rule: .within(0...1000)),
            .init(
                "augment.frequency_width", \.augmentation.frequencyWidth, "The widest of them, in mels.",
                rule: .within(0...4096)),
        ]
    }

    private static var extractor: [RecipeField] {
        [
            .init(
                "extractor.blocks", optional: \.extractor.blocks, example: "4",
                "Prune media tokens after each of n blocks of layers. Without blocks and gap, the extractor is off.",
                rule: .within(1...1024)),
            .init(
                "extractor.gap", optional: \.extractor.gap, example: "7", "The same, by the layers of a block.",
                rule: .within(1...1024)),
            .init(
                "extractor.keep", \.extractor.keep, "ρ: the share of media tokens that a pruning keeps.",
                rule: Rule(words: "above 0 and at most 1") { $0 > 0 && $0 <= 1 }),
        ]
    }

    private static var media: [RecipeField] {
        [
            .init(
                "media.longest_side", \.media.longestSide, "Larger images are shrunk to this many pixels.",
                rule: .within(28...65_536)),
            .init(
                "media.image_pixels", optional: \.media.imagePixels, example: "1003520",
                "The most pixels of an image; without it, the checkpoint's number.", rule: .within(1...countLimit)),
            .init(
                "media.frames_per_second", \.media.framesPerSecond, "Frames of a video that are encoded.",
                rule: .positive),
            .init("media.max_frames", \.media.maxFrames, "The most frames of a video.", rule: .within(2...65_536)),
            .init(
                "media.speech_seconds", optional: \.media.speechSeconds, example: "30.0",
                "Seconds of a recording that are used; without it, all. The regularizer leaves out longer recordings.",
                rule: .positive),
            .init(
                "media.max_windows", optional: \.media.maxWindows, example: "120",
                "The most windows of a recording; an example with more is left out and counted.",
                rule: .within(1...countLimit)),
        ]
    }

    private static var validation: [RecipeField] {
        [
            .init(
                "validation.data", \.validation.data, "Files of examples that are not trained on; [] for none.",
                isFixed: false),
            .init(
                "validation.every", \.validation.every, "Updates from one validation to the next.", isFixed: false,
                rule: .within(1...countLimit)),
            .init(
                "validation.exact_match", \.validation.exactMatch,
                "Compare greedy answers, or a tower's labels, with the data's, beside the loss.", isFixed: false),
            .init(
                "validation.write_best", \.validation.writesBest,
                "Write the parameters with the least validation loss, not the last.", isFixed: false),
        ]
    }

    private static var saving: [RecipeField] {
        [
            .init(
                "saving.minutes", \.saving.minutes, "Minutes from one saved state to the next.", isFixed: false,
                rule: .notNegative),
            .init(
                "saving.kept", \.saving.kept, "Saved states that are kept.", isFixed: false,
                rule: .within(1...1000)),
        ]
    }
}
