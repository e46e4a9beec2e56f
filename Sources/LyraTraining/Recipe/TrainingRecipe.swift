import LyraTensor
import LyraText

/// Everything that decides a training run. `TrainingRecipe(stage:objective:)` has the paper's settings; a TOML text,
/// which
/// `toml` writes with comments, can change each.
public struct TrainingRecipe: Sendable, Equatable {
    public var stage: TrainingStage
    /// Language in all stages but `pretrain`.
    public var objective: TrainingObjective
    /// Path of the checkpoint that the run starts from.
    public var model = ""
    /// Directory with towers, as for opening a checkpoint.
    public var towers: String?
    /// File with a speech projector in place of the checkpoint's own, as stage 1 writes it.
    public var speechProjector: String?
    /// File with the sound projector, as for opening a checkpoint.
    public var soundProjector: String?
    /// Files of examples: LLaVA-style JSON or JSONL.
    public var data: [String] = []
    /// How often an epoch has each example of each file; empty for once.
    public var dataWeights: [Double] = []
    /// Directory that relative paths of media start from; nil for that of the file that names them.
    public var mediaDirectory: String?
    /// Directory for what the run writes.
    public var output = ""
    /// Parts that are trained, or patterns of tensors' names: what `TrainableSelection` takes.
    public var trained: [String]
    /// For conversations without a system prompt of their own.
    public var systemPrompt = ChatTemplate.defaultSystemPrompt
    /// Seed of fresh parameters, the order of examples, and dropout.
    public var seed: UInt64 = 0
    /// Precision of products; nil as for opening a checkpoint.
    public var precision: Precision?
    /// Whether only the inputs of layers stay in memory until the gradient is computed.
    public var recomputesLayers = true
    /// Compute threads; nil for all processors.
    public var threads: Int?
    public var adapter: Adapter
    public var generator = Generator()
    public var optimizer: Optimizer
    /// Parameters with settings of their own; the first group that names a parameter counts.
    public var groups: [Group] = []
    /// Linear layers that are trained with a tower and written beside it.
    public var heads: [Head] = []
    /// A file of heads to start from, as a run writes it; nil for fresh ones.
    public var headsStart: String?
    public var batch: Batch
    public var loss: Loss
    public var augmentation = Augmentation()
    public var extractor = Extraction()
    public var media = Media()
    public var validation = Validation()
    public var saving = Saving()

    /// The adapter that the model computes with. One that the checkpoint lacks is made fresh; the rank, α and targets
    /// are a fresh adapter's.
    public struct Adapter: Sendable, Equatable {
        /// Empty for no adapter.
        public var name: String
        /// Whether stage 4 uses the adapter only for examples with speech, as sessions do that choose it themselves; if
        /// not, for all examples, as the published training does.
        public var needsSpeech = false
        /// An adapter's directory to start from, in place of the checkpoint's or a fresh one.
        public var start: String?
        public var rank: Int
        /// The update is scaled by alpha / rank.
        public var alpha: Double
        /// Share of the inputs that training drops.
        public var dropout = 0.05
        /// Matrices of each layer that have an update.
        public var targets = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]
    }

    /// Sizes of the speech generator that stage 4 makes, from the recipe's seed, for a checkpoint that has none. A
    /// value that is nil is the default of such a fresh generator. If the checkpoint has a speech generator, that is
    /// trained, and a value that differs from it is an error.
    public struct Generator: Sendable, Equatable {
        /// Nil for 2, as published.
        public var layers: Int?
        /// Width of the layers, an even multiple of `heads`; nil for 4096, as published. The width of what the
        /// generator reads is that of the language model.
        public var dim: Int?
        /// Nil for 32, as published.
        public var heads: Int?
        /// Width inside each layer's MLP; nil for 11,008, as published.
        public var inner: Int?
        /// Positions for each token of the answer, which can speak as many units; nil for 25, as published.
        public var upsampling: Int?
        /// Speech units are 0 … units − 1; nil for 1000, as published.
        public var units: Int?
        /// Tokens of the prompt that the generator reads before an answer. Nil for 1: the published 0 keeps all
        /// positions of an answer's first token alike, so that they can speak one unit only.
        public var contextRows: Int?

        public init() {}
    }

    public struct Optimizer: Sendable, Equatable {
        public enum Method: String, Sendable, CaseIterable {
            case adamw
            /// Muon for matrices of the layers, AdamW for the rest.
            case muon
        }

        public var method = Method.adamw
        /// Highest learning rate.
        public var learningRate: Double
        public var schedule = Schedule.Shape.cosine
        /// Share of the updates over which the learning rate rises.
        public var warmup: Double
        public var weightDecay = 0.0
        public var beta1 = 0.9
        public var beta2 = 0.999
        public var epsilon = 1e-8
        /// Of Muon.
        public var momentum = 0.95
        /// Longest norm of all gradients together.
        public var clipping = 1.0
        /// Updates with a gradient that is not finite, one after another, that stop the run.
        public var failureLimit = 10
    }

    public struct Group: Sendable, Equatable {
        /// Parts, or patterns of tensors' names.
        public var parameters: [String] = []
        /// Nil for the optimizer's.
        public var learningRate: Double?
        public var weightDecay: Double?

        public init() {}
    }

    /// A linear layer over a tower's rows that predicts labels.
    public struct Head: Sendable, Equatable {
        /// Of the labels in the data: `row_labels` or `sequence_labels`.
        public var name = ""
        public var kind = Kind.rows
        /// Number of labels; they are 0 … labels − 1.
        public var labels = 0
        /// Of the head's loss in the whole.
        public var weight = 1.0

        public enum Kind: String, Sendable, CaseIterable {
            /// A label for each row: framewise cross-entropy.
            case rows
            /// A sequence of labels for all rows: CTC.
            case sequence
        }

        public init() {}
    }

    public struct Batch: Sendable, Equatable {
        /// Examples of a batch.
        public var size = 4
        /// Most rows of the examples of a batch together, by estimate; nil for any number.
        public var tokens: Int?
        /// Batches of an update.
        public var accumulation = 1
        /// Passes through the data, if `steps` is nil.
        public var epochs: Int
        /// Updates of the run.
        public var steps: Int?
        /// Prompt rows and tokens that an example may have; a longer one is left out and counted.
        public var longest = 8192
        /// Share of examples that a run may leave out because they are bad.
        public var badShare = 0.01
        /// Threads that decode media, and batches that they make ahead.
        public var loaders = 2
        public var ahead = 2
    }

    public struct Loss: Sendable, Equatable {
        /// λ of the regularizer; 0 for none.
        public var regularizer: Double
        /// τ of the regularizer; nil for the checkpoint's, which is the paper's 0.06 unless it says otherwise.
        public var temperature: Double?
        /// γ of the regularizer's soft minimum.
        public var gamma = 0.1
        /// A vocoder's losses: weights of log-mel spectrograms, of the multi-resolution STFT, and of durations.
        public var mel = 1.0
        public var stft = 1.0
        public var duration = 1.0
        /// Frames of the pieces of recordings that a vocoder learns from.
        public var crop = 32
    }

    /// What training hides of a speech tower's input (SpecAugment); validation sees all of it.
    public struct Augmentation: Sendable, Equatable {
        public var timeMasks = 0
        /// The longest mask in seconds.
        public var timeWidth = 0.5
        public var frequencyMasks = 0
        /// The widest mask in mels.
        public var frequencyWidth = 10
    }

    /// The extractor; off if neither `blocks` nor `gap` is set.
    public struct Extraction: Sendable, Equatable {
        public var blocks: Int?
        public var gap: Int?
        /// Share of media tokens that a pruning keeps.
        public var keep = 0.7
    }

    public struct Media: Sendable, Equatable {
        /// Longest side of an image in pixels; larger images are shrunk.
        public var longestSide = 2880
        /// Most pixels of an image; nil for the checkpoint's value.
        public var imagePixels: Int?
        public var framesPerSecond = 2.0
        /// Most frames of a video.
        public var maxFrames = 16
        /// Seconds of a recording of speech that are used; nil for all.
        public var speechSeconds: Double?
        /// Most windows of a recording; an example with more is left out and counted. Nil for any number.
        public var maxWindows: Int?
    }

    public struct Validation: Sendable, Equatable {
        /// Files of examples that are not trained on; empty for no validation.
        public var data: [String] = []
        /// Updates from one validation to the next.
        public var every = 100
        /// Whether greedy answers are compared with the data's.
        public var exactMatch = false
        /// Whether the run writes the parameters with the least validation loss, not the last.
        public var writesBest = false
    }

    public struct Saving: Sendable, Equatable {
        /// Minutes from one saved state to the next.
        public var minutes = 10.0
        /// Saved states that are kept.
        public var kept = 2
    }

    /// The paper's settings of a stage (its table of hyper-parameters). For `pretrain`, which the paper has not, those
    /// of small models.
    ///
    /// - Parameter objective: of `pretrain`
    public init(stage: TrainingStage, objective: TrainingObjective = .language) {
        (self.stage, self.objective) = (stage, objective)
        let parts: [String], rate: Double, warmup: Double, epochs: Int
        switch stage {
        case .projector: (parts, rate, warmup, epochs) = (["projector"], 1e-3, 0.03, 1)
        case .instructions: (parts, rate, warmup, epochs) = (["adapter", "projector"], 2e-4, 0.03, 1)
        case .longSpeech: (parts, rate, warmup, epochs) = (["adapter", "projector"], 1e-4, 0.03, 3)
        case .generator: (parts, rate, warmup, epochs) = (["speech_generator"], 2e-4, 0.09, 3)
        case .pretrain: (parts, rate, warmup, epochs) = (["all"], 1e-3, 0.03, 1)
        }
        trained = objective == .language ? parts : [objective.rawValue]
        let isLong = stage == .longSpeech
        adapter = Adapter(
            name: isLong ? "long_speech" : stage == .instructions ? "speech" : "", rank: isLong ? 128 : 64,
            alpha: isLong ? 256 : 16)
        optimizer = Optimizer(learningRate: rate, warmup: warmup)
        batch = Batch(epochs: epochs)
        // A recording of 30 s has 300 tokens: two hours of speech.
        if isLong { batch.longest = 72_000 }
        loss = Loss(regularizer: stage == .instructions ? 0.5 : 0)
        // Examples pass through a tower a few at a time, so there is little to keep.
        if objective != .language { recomputesLayers = false }
    }
}
