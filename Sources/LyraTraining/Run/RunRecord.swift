import LyraBase

/// What a saved state holds beside the tensors.
package struct RunRecord: Codable, Equatable, Sendable {
    /// Of this layout.
    package static let currentVersion = 1

    package var version = Self.currentVersion
    /// What the run must be resumed with.
    package var identity: RunIdentity
    /// Updates so far, those included that were left out.
    package var step = 0
    /// Batches so far, of each process.
    package var position = 0
    package var examples = 0
    package var tokens = 0
    /// Training time.
    package var seconds = 0.0
    package var skippedExamples = 0
    package var skippedUpdates = 0
    /// Updates that were left out since the last that was made.
    package var failuresInARow = 0
    /// The update after which the last validation was.
    package var validatedStep = 0
    /// The least validation loss; nil before the first validation.
    package var bestLoss: Double?
    /// Updates of each parameter that the optimizer made, in the order of the parameters.
    package var optimizerSteps: [Int] = []

    package init(identity: RunIdentity) { self.identity = identity }
}

/// What decides a run's numbers beside its parameters.
package struct RunIdentity: Codable, Equatable, Sendable {
    /// The recipe as TOML.
    package var recipe = ""
    /// Fingerprints of the checkpoint that the run started from, and of the examples.
    package var model = ""
    package var data = ""
    package var processes = 1

    package init(recipe: String = "", model: String = "", data: String = "", processes: Int = 1) {
        (self.recipe, self.model, self.data, self.processes) = (recipe, model, data, processes)
    }
}
