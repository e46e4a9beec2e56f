import LyraBase

/// What a saved state holds beside the tensors.
package struct RunRecord: Codable, Equatable, Sendable {
    /// Of this layout.
    package static let currentVersion = 2

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
    /// The update after which that was; nil if no update had changed anything, and in the states of earlier versions.
    package var bestStep: Int?
    /// Updates of each parameter that the optimizer made, in the order of the parameters.
    package var optimizerSteps: [Int] = []
    /// Whether each parameter has had a gradient that was not 0, in the same order; nil in the states of earlier
    /// versions.
    package var reached: [Bool]?

    package init(identity: RunIdentity) { self.identity = identity }

    /// Whether an update has changed the parameters.
    ///
    /// - Parameter warmsUp: whether the schedule has a warm-up; the first update's learning rate is then 0
    func hasChangedParameters(warmsUp: Bool) -> Bool { step - skippedUpdates > (warmsUp ? 1 : 0) }
}
