import ArgumentParser
import CKernels
import LyraBase
import LyraData
import LyraFormats

struct UnitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "units",
        abstract: "Turns speech into units, for training the speech generator, and units into speech.",
        discussion: """
            'train' makes a codebook: k-means over frames of 20 ms, which are hidden states of a speech tower or \
            log-mel features. 'encode' writes the units of recordings into a data file, as tgt_unit. 'decode' \
            synthesizes units.

            The published vocoder knows the 1,000 units of mHuBERT, of which lyra has no encoder: compute its frames \
            with another program, and encode them with --stored-features and the published codebook.
            """,
        subcommands: [TrainUnitsCommand.self, EncodeUnitsCommand.self, DecodeUnitsCommand.self])
}

/// What frames are, and which recordings they are of.
struct FrameArguments: ParsableArguments {
    @Option(help: ArgumentHelp("Frames are hidden states of this Whisper directory or checkpoint.", valueName: "dir"))
    var tower: String?

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "The hidden states after this layer of the tower, 0 before the first (default: after the last and the "
                + "final norm).", valueName: "n"))
    var layer: Int?

    @Flag(help: "Frames are Whisper's log-mel features, two columns side by side.")
    var logMels = false

    @Option(parsing: .unconditional, help: ArgumentHelp("Bands of --log-mels (default: 80).", valueName: "n"))
    var mels: Int?

    @Flag(help: "Frames are rows of .npy files [frames, width], 20 ms each, which the key names instead of recordings.")
    var storedFeatures = false

    @Option(help: ArgumentHelp("The key of an example that names the recording.", valueName: "key"))
    var key = "tgt_speech"

    @Option(
        help: ArgumentHelp(
            "Folder that relative paths in data files start from (default: each data file's folder).",
            valueName: "dir"))
    var root: String?

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    func validate() throws {
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
        guard [tower != nil, logMels, storedFeatures].count(where: { $0 }) <= 1 else {
            throw ValidationError("--tower, --log-mels and --stored-features exclude one another")
        }
        if layer != nil && tower == nil { throw ValidationError("--layer is of --tower") }
        // With a codebook, its kind of frames need not be named.
        if mels != nil && (tower != nil || storedFeatures) { throw ValidationError("--mels is of --log-mels") }
    }

    /// The frames that the options name; nil if they name none.
    func named(check: @escaping () throws -> Void) throws -> SpeechFrames? {
        if let tower { return try .tower(tower, layer: layer, check: check) }
        if logMels { return try .logMels(bands: mels ?? 80) }
        return storedFeatures ? .stored : nil
    }

    /// The frames that a codebook needs.
    func frames(for codebook: Codebook, _ path: String, check: @escaping () throws -> Void) throws -> SpeechFrames {
        guard let features = codebook.features else {
            guard let named = try named(check: check) else {
                throw LyraError(
                    .argument,
                    "\(path): it does not say what frames it is of; pass --tower, --log-mels or --stored-features")
            }
            return named
        }
        try checkAgreement(with: features.kind, path)
        switch features.kind {
        case .logMels(let bands): return try .logMels(bands: bands)
        case .stored: return .stored
        case .tower(let layer):
            guard let tower else {
                let name = features.tower.map { " " + shown($0) } ?? ""
                throw LyraError(.argument, "\(path): it is of the speech tower\(name); pass its directory as --tower")
            }
            return try .tower(tower, layer: layer, check: check)
        }
    }
}

extension FrameArguments {
    /// - Throws: `LyraError.argument` for an option that contradicts what a codebook is of.
    private func checkAgreement(with kind: SpeechFrames.Kind, _ path: String) throws {
        let isOther: Bool, name: String
        switch kind {
        case .logMels(let bands):
            (isOther, name) = (tower != nil || storedFeatures || mels.map { $0 != bands } ?? false, "\(bands) log-mels")
        case .tower(let ofLayer):
            isOther = logMels || mels != nil || storedFeatures || layer.map { $0 != ofLayer } ?? false
            name = "layer \(ofLayer) of a tower"
        case .stored: (isOther, name) = (tower != nil || logMels || mels != nil, "stored features")
        }
        guard !isOther else {
            throw LyraError(
                .argument,
                "\(path): the codebook is of \(name), and an option names other frames; leave the option out")
        }
    }
}

struct TrainUnitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train",
        abstract: "Trains a codebook of speech units by k-means.",
        discussion: """
            The codebook is a safetensors file with a tensor centroids [units, width], and metadata that say what the \
            frames were. The same data, seed and number of threads give the same codebook.

              lyra data units train --data answers.json --units 1000 --log-mels -o codebook.safetensors
            """)

    @Option(help: ArgumentHelp("A data file; can be given several times.", valueName: "file"))
    var data: [String]

    @Option(parsing: .unconditional, help: ArgumentHelp("Number of units.", valueName: "n"))
    var units = 1000

    @OptionGroup var framing: FrameArguments

    @Option(
        parsing: .unconditional,
        help: ArgumentHelp(
            "Train on this many frames, chosen at random among all. They take 8 bytes a number.", valueName: "n"))
    var frames = 100_000

    @Option(parsing: .unconditional, help: ArgumentHelp("Iterations at most.", valueName: "n"))
    var iterations = 50

    @Option(parsing: .unconditional, help: ArgumentHelp("Seed of all random choices.", valueName: "n"))
    var seed = Seed(1)

    @OptionGroup var out: DataOutputArguments

    func validate() throws {
        guard (1...1 << 20).contains(units) else { throw ValidationError("--units must be in 1…\(1 << 20)") }
        guard (1...1 << 28).contains(frames) else { throw ValidationError("--frames must be in 1…\(1 << 28)") }
        guard (1...100_000).contains(iterations) else { throw ValidationError("--iterations must be in 1…100000") }
        guard framing.tower != nil || framing.logMels || framing.storedFeatures else {
            throw ValidationError("say what the frames are: --tower, --log-mels or --stored-features")
        }
    }

    func run() throws {
        Interrupt.watch()
        lk_set_threads(Int32(clamping: framing.threads ?? 0))
        let progress = DataProgress()
        defer { progress.clear() }
        guard let frames = try framing.named(check: progress.check) else { return }
        let reading = UnitData(
            key: framing.key, root: framing.root, frames: frames, badShare: out.badShare,
            note: { progress.note("left out: " + $0) })
        let total = try reading.count(data, check: progress.check)
        let (sample, summary) = try reading.sample(data, of: total, limit: self.frames, seed: seed.value) {
            try progress.show("recordings", $0, total)
        }
        let rows = try sample.tensor()
        let first = try KMeans.first(rows, count: units, seed: seed.value) {
            try progress.show("choosing units", $0, units)
        }
        var last: KMeans.Progress?
        let centroids = try KMeans.refine(
            rows, from: first, iterations: iterations, tolerance: 1e-4,
            progress: {
                last = $0
                try progress.show("distance \($0.distance.rounded(toPlaces: 4)), iteration", $0.iteration, iterations)
            }, check: progress.check)
        let codebook = try Codebook(
            centroids: centroids,
            features: Codebook.Features(kind: frames.kind, tower: framing.tower.map { FileSystem.name(of: $0) }))
        try codebook.write(to: out.output, frames: rows.rows, seed: seed.value)
        progress.clear()
        let bad = summary.bad > 0 ? "; left out: \(counted(summary.bad, "example")) missing or damaged" : ""
        printError(
            "wrote \(out.output): \(units) units of \(rows.rows) frames among \(summary.frames) "
                + "(\(duration(Double(summary.frames) * SpeechFrames.seconds))), mean squared distance "
                + "\((last?.distance ?? 0).rounded(toPlaces: 4)) after "
                + "\(counted(last?.iteration ?? 0, "iteration"))\(bad)")
    }
}

struct EncodeUnitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "encode",
        abstract: "Writes the speech units of recordings into a data file.",
        discussion: """
            Copies the data file and sets tgt_unit of each example whose key names a recording of its answer. Runs of \
            the same unit become one, because the vocoder predicts how long a unit lasts.

            The codebook is one of 'train', or another program's centroids [units, width] as a .npy or safetensors \
            file. A pickle of joblib or scikit-learn, such as mHuBERT's, must be converted first:

              import joblib, numpy
              m = joblib.load('mhubert_base_vp_en_es_fr_it3_L11_km1000.bin')
              numpy.save('mhubert.npy', m.cluster_centers_)

            Then, with frames of mHuBERT's layer 11 in .npy files:

              lyra data units encode --codebook mhubert.npy --stored-features \\
                  --data answers.json -o units.json
            """)

    @Option(help: ArgumentHelp("The codebook.", valueName: "file"))
    var codebook: String

    @Option(help: ArgumentHelp("The data file.", valueName: "file"))
    var data: String

    @OptionGroup var framing: FrameArguments

    @Flag(help: "Keep runs of the same unit: one unit for each 20 ms.")
    var keepRuns = false

    @OptionGroup var out: DataOutputArguments

    func run() throws {
        Interrupt.watch()
        lk_set_threads(Int32(clamping: framing.threads ?? 0))
        let progress = DataProgress()
        defer { progress.clear() }
        let book = try Codebook.open(codebook)
        let frames = try framing.frames(for: book, codebook, check: progress.check)
        if let width = frames.width, width != book.width {
            throw LyraError(
                .argument, "\(codebook): units of \(book.width) numbers, but the frames have \(width)")
        }
        let reading = UnitData(
            key: framing.key, root: framing.root, frames: frames, badShare: out.badShare,
            note: { progress.note("left out: " + $0) })
        let total = try reading.count([data], check: progress.check)
        let writer = try ExampleWriter(path: out.output)
        let summary = try reading.encode(data, book, reduces: !keepRuns, to: writer, of: total) {
            try progress.show("recordings", $0, total)
        }
        try writer.finish()
        progress.clear()
        var message =
            "wrote \(out.output): \(summary.units) units of \(counted(summary.used, "recording")), "
            + duration(Double(summary.frames) * SpeechFrames.seconds)
        if summary.without > 0 {
            message += "; \(counted(summary.without, "example")) without \(shown(framing.key)) unchanged"
        }
        if summary.bad > 0 { message += "; left out: \(counted(summary.bad, "example")) missing or damaged" }
        printError(message)
    }
}

extension Double {
    /// Rounded for display.
    fileprivate func rounded(toPlaces places: Int) -> Double {
        let unit = (0..<places).reduce(1.0) { unit, _ in unit * 10 }
        return (self * unit).rounded() / unit
    }
}
