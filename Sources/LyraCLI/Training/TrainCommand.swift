import ArgumentParser
import CKernels
import Lyra
import LyraBase
import LyraModel
import LyraTraining

struct TrainCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "train", abstract: "Trains adapters, projectors, the speech generator, or whole models.",
        discussion: """
            Stages 1 to 4 are the paper's: 1 the speech projector, 2 an adapter for instructions with speech, 3 one \
            for long speech, 4 the speech generator, which is made if the checkpoint has none. The stage pretrain \
            trains all parts, or, by the recipe's key objective, a speech tower, a vision tower or a vocoder.

              lyra train --stage 2 --model start --data instructions.json --out run

            A recipe is a TOML file for everything that can be set; --print-recipe prints one with comments. Options \
            on the command line take precedence.

            The output directory gets log.jsonl, saved states, and at the end what was trained: an adapter's \
            directory, non_lora_trainables.bin, or a whole model, and a tower's heads.safetensors. Ctrl-C saves the \
            state and ends the run; the same command continues it, also after kill -9, from the last saved state.
            """)

    @OptionGroup var recipe: RecipeArguments

    @Flag(help: "Print the recipe with the given options, and train nothing.")
    var printRecipe = false

    @Flag(
        inversion: .prefixedNo,
        help: ArgumentHelp(
            "Continue from a saved state, which must be there; or begin anew, which removes it (default: continue if "
                + "there is one)."))
    var resume: Bool?

    @Flag(help: "Train together with other processes over MPI, also if the launcher does not say that there are any.")
    var mpi = false

    @Option(
        name: .customLong("dry-run-gradients"),
        help: ArgumentHelp(
            "Train nothing; print the losses of this example of stage 2 and the norms of their gradients as one JSON "
                + "object. A safetensors file with in.encoder, in.before, in.after, in.answer and in.transcript.",
            valueName: "file"))
    var gradientCase: String?

    func validate() throws {
        guard let gradientCase else { return try recipe.checkPresent(needsAll: !printRecipe) }
        guard recipe.stage ?? .instructions == .instructions else {
            throw ValidationError("--dry-run-gradients is for --stage 2")
        }
        guard recipe.speechProjector == nil else {
            throw ValidationError("--dry-run-gradients takes no --speech-projector: it uses the adapter's own")
        }
        guard recipe.model != nil, !gradientCase.isEmpty else { throw ValidationError("Missing --model") }
    }

    func run() throws {
        if let gradientCase {
            try dryRun(gradientCase)
        } else if printRecipe {
            try printOutput(recipe.build().toml)
        } else {
            try train(recipe.build())
        }
    }

    private func dryRun(_ path: String) throws {
        lk_set_threads(Int32(clamping: recipe.threads ?? 0))
        var options = CheckpointOptions()
        (options.towers, options.soundProjector) = (recipe.towers, recipe.soundProjector)
        let report = try GradientReport(
            of: GradientCase(path: path), checkpoint: recipe.model ?? "", options: options,
            adapter: recipe.adapter ?? "speech", extractor: recipe.extractor?.extractor)
        try printOutput(JSONText.encodeIndented(GradientDryRun(report, of: path)) + "\n")
    }

    private func train(_ recipe: TrainingRecipe) throws {
        Interrupt.watch()
        let group = try MPILaunch().group(requiresMPI: mpi)
        let run = TrainingRun(
            recipe, resumption: resume.map { $0 ? .required : .never } ?? .ifPossible, group: group)
        let display = TrainingDisplay(isVisible: group.isMain)
        run.note = { display.note($0) }
        run.preparing = { what, done, total in
            guard !Interrupt.isRequested else {
                throw LyraError(.state, "interrupted while \(what); the last saved state remains")
            }
            display.prepare(what, done, total)
        }
        let outcome: TrainingOutcome
        do {
            defer { display.clear() }
            outcome = try run.run(interruption: Interrupt.computation) {
                display.show($0)
                return .proceed
            }
        }
        try group.leave()
        if outcome != .finished {
            throw LyraError(
                .state,
                "\(recipe.output): interrupted; the state after update \(run.savedStep ?? 0) is saved, and the same "
                    + "command continues")
        }
        if let result = run.result { display.note("wrote \(result)", isPlain: true) }
    }
}
