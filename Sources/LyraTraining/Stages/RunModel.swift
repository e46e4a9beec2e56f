import LyraBase
import LyraFormats
import LyraModel
import LyraTensor
import LyraTools

/// The checkpoint of a run, opened so that the recipe's parameters can be trained.
struct RunModel {
    let checkpoint: Checkpoint
    let options: CheckpointOptions
    let trainables: TrainableParameters
    let selection: TrainableSelection
    /// The directory of the adapter that the run started from, if it is not the checkpoint's own.
    private let adapterDirectory: String?
    /// The speech generator that the run made, if the checkpoint has none.
    private let freshGenerator: FreshGenerator?
    private let recipe: TrainingRecipe
    /// The smallest result that has all that is trained.
    private(set) var result = Result.model

    /// Opens the checkpoint. An adapter that it lacks is made and put into `directory`; a speech generator that stage 4
    /// lacks is made in memory.
    ///
    /// - Parameters:
    ///   - group: only the first process writes
    /// - Throws: the errors of `Checkpoint.open`; `LyraError.argument` if the recipe names what the checkpoint lacks.
    init(
        _ recipe: TrainingRecipe, directory: RunDirectory, group: any ProcessGroup,
        progress: @escaping (_ done: Int, _ total: Int) throws -> Void
    ) throws {
        self.recipe = recipe
        var options = CheckpointOptions()
        (options.towers, options.soundProjector) = (recipe.towers, recipe.soundProjector)
        (options.precision, options.progress) = (recipe.precision, progress)
        adapterDirectory = try Self.adapterDirectory(recipe, options, directory, group)
        if let adapterDirectory { options.adapterDirectories = [(recipe.adapter.name, adapterDirectory)] }
        selection = try TrainableSelection(
            recipe.trained, adapter: recipe.adapter.name.isEmpty ? nil : recipe.adapter.name,
            groups: recipe.groups.map(\.parameters), usesVocoder: recipe.objective == .vocoder,
            isInfluential: recipe.isInfluential)
        trainables = TrainableParameters(selection)
        self.options = options
        freshGenerator = try FreshGenerator.needed(recipe, options)
        var opening = options
        (opening.trainables, opening.freshGenerator) = (trainables, freshGenerator)
        opening.speechProjector = recipe.speechProjector
        checkpoint = try Checkpoint.open(recipe.model, options: opening)
        try checkInfluence()
        try checkSpeechProjector()
        result = try smallestResult()
    }

    /// - Throws: `LyraError.argument` if the run would not use the recipe's speech projector.
    private func checkSpeechProjector() throws {
        guard let projector = recipe.speechProjector else { return }
        switch checkpoint.speechNetworks {
        case .absent(let reason):
            throw LyraError(.argument, "\(projector): the checkpoint cannot use a speech projector: \(reason.message)")
        case .present(let speech):
            // A fresh adapter's own projector is a copy of the recipe's.
            let isFresh = adapterDirectory != nil && recipe.adapter.start == nil
            guard !isFresh, let index = selection.adapter, speech.adapterProjectors[index] != nil else { return }
            throw LyraError(
                .argument,
                "\(projector): the adapter \(shown(recipe.adapter.name)) has a speech projector of its own, which the "
                    + "run would use; give no other, or remove the adapter's non_lora_trainables.bin")
        }
    }

    /// - Throws: `LyraError.argument` if something is to be trained on which the loss does not depend, or if an adapter
    ///   was made that is not trained.
    private func checkInfluence() throws {
        if let idle = trainables.elements.first(where: { !recipe.isInfluential($0.part, $0.name) }) {
            throw LyraError(
                .argument,
                "recipe: trained names \(shown(idle.name)), which \(recipe.kindName) cannot train; stage 4 trains the "
                    + "speech generator, objectives speech_tower, vision_tower and vocoder the part that they name, "
                    + "and only that")
        }
        guard adapterDirectory != nil, recipe.adapter.start == nil, let index = selection.adapter else { return }
        guard trainables.contain(.adapter(index)) || trainables.contain(.adapterProjector(index)) else {
            throw LyraError(
                .argument,
                "\(recipe.model): there is no adapter \(shown(recipe.adapter.name)), and the run would not train it; "
                    + "name an adapter that is there, or none")
        }
    }

    /// What an example needs to have so that a gradient reaches what is trained; nil if every example has it.
    var needed: String? {
        var media: [String] = []
        for element in trainables.elements {
            let medium: String
            switch element.part {
            case .adapterProjector, .speechTower: medium = "speech"
            case .main where element.name.hasPrefix(CheckpointLoader.speechProjectorPrefix): medium = "speech"
            case .visionTower: medium = "an image or a video"
            default: return nil
            }
            if !media.contains(medium) { media.append(medium) }
        }
        return media.joined(separator: " or ")
    }

    /// Where the run's adapter is, if not in the checkpoint: at the recipe's place, or fresh in the run's directory.
    private static func adapterDirectory(
        _ recipe: TrainingRecipe, _ options: CheckpointOptions, _ directory: RunDirectory, _ group: any ProcessGroup
    ) throws -> String? {
        guard !recipe.adapter.name.isEmpty else { return nil }
        if let start = recipe.adapter.start { return start }
        guard try !CheckpointLoader(recipe.model, options).hasAdapter(recipe.adapter.name) else { return nil }
        let path = directory.freshAdapter
        if group.isMain {
            var options = options
            options.speechProjector = recipe.speechProjector
            var settings = AdapterSettings(rank: recipe.adapter.rank, alpha: recipe.adapter.alpha)
            (settings.dropout, settings.targetModules) = (recipe.adapter.dropout, recipe.adapter.targets)
            settings.baseModel = recipe.model
            try FreshAdapter(checkpoint: recipe.model, options: options, settings: settings, seed: recipe.seed)
                .write(to: path)
        }
        try group.barrier()
        return path
    }

    /// An adapter that the run starts from. Its files are read at the start only: they may be gone at the end, hours
    /// later.
    struct AdapterStart {
        fileprivate let place: String
        /// What the result is written with.
        fileprivate let settings: AdapterSettings
    }

    private func adapterStart(_ index: Int) throws -> AdapterStart {
        let place = try adapterPlace(index)
        var settings = try AdapterSettings(directory: place)
        settings.dropout = recipe.adapter.dropout
        return AdapterStart(place: place, settings: settings)
    }

    /// The directory of the adapter that the run starts from.
    private func adapterPlace(_ index: Int) throws -> String {
        let names = BuiltInModel.isName(recipe.model) ? [] : ["_lora", ""]
        let inside = names.map { FileSystem.join(recipe.model, checkpoint.adapters[index] + $0) }
        let places = adapterDirectory.map { [$0] } ?? inside
        guard
            let place = try places.first(where: { try FileSystem.isFile(FileSystem.join($0, "adapter_config.json")) })
        else {
            guard try BuiltInModel.isName(recipe.model) || FileSystem.isFile(recipe.model) else {
                throw LyraError(
                    .missing,
                    "\(places.joined(separator: " or ")): there is no adapter_config.json anymore; put it back")
            }
            throw LyraError(
                .unsupported,
                "\(recipe.model): the adapter of a one-file model cannot be trained further; use the directory that "
                    + "the file was converted from")
        }
        return place
    }

    // MARK: Results

    /// What a run writes.
    enum Result {
        /// An adapter's directory.
        case adapter(Int, AdapterStart)
        /// The checkpoint's speech projector alone, as `non_lora_trainables.bin`.
        case projector
        /// A whole checkpoint.
        case model
    }

    /// - Throws: the errors of `adapterStart`.
    private func smallestResult() throws -> Result {
        /// The adapter that an element belongs to.
        func adapter(_ element: TrainableParameters.Element) -> Int? {
            switch element.part {
            case .adapter(let index), .adapterProjector(let index): index
            default: nil
            }
        }
        let elements = trainables.elements
        if let index = elements.first.flatMap(adapter), elements.allSatisfy({ adapter($0) == index }) {
            return .adapter(index, try adapterStart(index))
        }
        let isProjector =
            !elements.isEmpty
            && elements.allSatisfy {
                $0.part == .main && $0.name.hasPrefix(CheckpointLoader.speechProjectorPrefix)
            }
        return isProjector ? .projector : .model
    }

    /// Where the result stands in the run's directory.
    func place(of result: Result, in directory: String) -> String {
        switch result {
        case .adapter(let index, _): FileSystem.join(directory, checkpoint.adapters[index] + "_lora")
        case .projector: FileSystem.join(directory, "non_lora_trainables.bin")
        case .model: FileSystem.join(directory, "model")
        }
    }

    /// Checks before the training that the result can be written, as far as can be told: an error hours later would
    /// lose the training.
    ///
    /// - Parameter isFinished: whether the run had ended before, so that its result may be there
    /// - Throws: `LyraError.argument` if something is in its place, or the result cannot hold what is trained; `.io` if
    ///   nothing can be written there; `.unsupported` for a one-file model that would have to be rewritten.
    func checkWritable(in directory: String, isFinished: Bool) throws {
        let path = place(of: result, in: directory)
        switch result {
        case .adapter(let index, let start):
            guard try FileSystem.resolved(start.place) != FileSystem.resolved(path) else {
                throw LyraError(
                    .argument, "\(path): the run starts from this adapter and would replace it; choose another output")
            }
            let (tensors, projector) = try adapterTensors(index)
            try AdapterWriter(directory: path, settings: start.settings).checkWritable(tensors, projector: projector)
        case .projector:
            if let start = recipe.speechProjector, try FileSystem.resolved(start) == FileSystem.resolved(path) {
                throw LyraError(
                    .argument,
                    "\(path): the run starts from this projector and would replace it; choose another output")
            }
            guard try !FileSystem.isDirectory(path) else {
                throw LyraError(.argument, "\(path): a directory is in the place of the result; remove it")
            }
        case .model:
            guard try !BuiltInModel.isName(recipe.model) && FileSystem.isDirectory(recipe.model) else {
                throw LyraError(
                    .unsupported,
                    "\(recipe.model): a one-file model cannot be rewritten; train the directory that it was converted "
                        + "from, or an adapter")
            }
            guard try isFinished || FileSystem.entries(of: path).isEmpty else {
                throw LyraError(
                    .argument, "\(path): there is something already; remove it, or choose another output")
            }
            guard try !Self.isCheckpoint(path) else { return }
            try ModelWriter(recipe.model, options: options).checkWritable(try changes, to: path)
        }
    }

    /// The present values of an adapter, and of its projector if it has one. The recipe's projector becomes that of an
    /// adapter that has none, because the checkpoint has another.
    private func adapterTensors(_ index: Int) throws -> (tensors: [NewTensor], projector: [NewTensor]?) {
        func tensors(_ part: ModelPart) throws -> [NewTensor] {
            try checkpoint.parameters.filter { $0.part == part }.flatMap(\.parameters).map { try Self.tensor($0) }
        }
        var projector = try tensors(.adapterProjector(index))
        if projector.isEmpty, recipe.speechProjector != nil {
            let prefix = CheckpointLoader.speechProjectorPrefix
            projector = try speechProjector.map { try Self.tensor($0, name: String($0.path.dropFirst(prefix.count))) }
        }
        return (try tensors(.adapter(index)), projector.isEmpty ? nil : projector)
    }

    /// What a whole checkpoint gets anew: what was trained, and the recipe's speech projector.
    private var changes: ModelChanges {
        get throws {
            var changes = ModelChanges()
            for element in trainables.elements {
                changes.set(element.part, NewTensor(element.name, element.parameter.tensor.detached))
            }
            if let generator = checkpoint.generator { freshGenerator?.complete(&changes, generator: generator) }
            guard recipe.speechProjector != nil else { return changes }
            let trained = Set(trainables.elements.filter { $0.part == .main }.map(\.name))
            for parameter in speechProjector where !trained.contains(parameter.path) {
                changes.set(.main, try Self.tensor(parameter))
            }
            return changes
        }
    }

    /// The speech projector without an adapter's.
    private var speechProjector: [Parameter] {
        checkpoint.parameters.filter { $0.part == .main }.flatMap(\.parameters)
            .filter { $0.path.hasPrefix(CheckpointLoader.speechProjectorPrefix) }
    }

    private static func isCheckpoint(_ path: String) throws -> Bool {
        try FileSystem.isFile(FileSystem.join(path, "config.json"))
    }

    /// Writes what was trained. → its path
    func write(to directory: String, check: @escaping () throws -> Void) throws -> String {
        let result = result, path = place(of: result, in: directory)
        switch result {
        case .adapter(let index, let start):
            let (tensors, projector) = try adapterTensors(index)
            try AdapterWriter(directory: path, settings: start.settings).write(tensors, projector: projector)
        case .projector: try writeProjector(to: path)
        case .model:
            // The run had ended already.
            if try Self.isCheckpoint(path) { return path }
            _ = try ModelWriter(recipe.model, options: options).write(try changes, to: path, check: check)
        }
        return path
    }

    private func writeProjector(to path: String) throws {
        let specs = trainables.elements.map {
            TensorSpec(name: "model." + $0.name, type: .float32, shape: $0.parameter.shape)
        }
        let writer = try TorchWriter(path: path, tensors: specs)
        for (element, spec) in zip(trainables.elements, specs) {
            try element.parameter.withValues {
                try writer.write(spec.name, UnsafeRawBufferPointer(start: $0, count: element.parameter.count * 4))
            }
        }
        try writer.finish()
    }

    /// A parameter's present values in F32.
    private static func tensor(_ parameter: Parameter, name: String? = nil) throws -> NewTensor {
        let name = name ?? parameter.path
        switch parameter.value {
        case .tensor(let tensor): return NewTensor(name, tensor.detached)
        case .weight(let weight):
            return NewTensor(name, parameter.shape) {
                try weight.gather((0..<weight.outputs).map { Int32(clamping: $0) }).reshaped(parameter.shape)
            }
        case .stored(let stored): return NewTensor(name, stored)
        }
    }
}

extension TrainingRecipe {
    /// Whether the loss depends on a parameter.
    fileprivate func isInfluential(_ part: ModelPart, _ name: String) -> Bool {
        let isGenerators = part == .main && name.hasPrefix(CheckpointLoader.speechGeneratorPrefix)
        return switch objective {
        case .language: isGenerators == (stage == .generator)
        case .speechTower: part == .speechTower
        case .visionTower: part == .visionTower
        case .vocoder: part == .vocoder
        }
    }
}
