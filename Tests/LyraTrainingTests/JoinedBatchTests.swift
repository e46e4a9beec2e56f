import LyraBase
import LyraModel
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

/// A batch that is divided between processes. Threads stand for processes here; MPI itself: Tests/cli/test_mpi.py.
@Suite struct JoinedBatchTests {
    /// A process has its own model.
    private struct Model {
        let checkpoint: Checkpoint
        let trainables: TrainableParameters
        let objective: LanguageObjective

        init(_ path: String) throws {
            let selection = try TrainableSelection(["adapter", "projector"], adapter: "speech")
            trainables = TrainableParameters(selection)
            var opening = CheckpointOptions()
            (opening.trainables, opening.precision) = (trainables, .exact)
            checkpoint = try Checkpoint.open(path, options: opening)
            var options = LanguageObjective.Options()
            (options.adapter, options.regularizerWeight) = (selection.adapter, 0.5)
            options.recomputesLayers = true
            objective = try LanguageObjective(checkpoint, trainables, options)
        }

        private func mel(_ seed: Int) throws -> Tensor {
            let configuration = try checkpoint.speechNetworks.get().encoder.configuration
            return try normal([configuration.mels, 2 * configuration.positions], seed: seed, deviation: 0.5)
        }

        /// Answers of unequal lengths. The second example has no transcript, the third no speech.
        func examples() throws -> [TrainingExample] {
            func example(_ pieces: [TrainingExample.Piece], _ transcript: [Int32]?) -> TrainingExample {
                TrainingExample(pieces: pieces, transcript: transcript, units: nil, origin: "item", length: 1)
            }
            return [
                example([.prompt([5, 6]), .speech(windows: [try mel(1)]), .prompt([7]), .answer([8, 9])], [30, 31]),
                example(
                    [.prompt([60]), .speech(windows: [try mel(2)]), .prompt([61]), .answer([62, 63, 64, 65, 66, 67])],
                    nil),
                example([.prompt([40, 41, 42]), .answer([43, 44, 45, 46, 47, 48, 49])], nil),
            ]
        }

        func gradients() -> [String: [Float]] {
            Dictionary(
                uniqueKeysWithValues: trainables.elements.compactMap { element in
                    element.parameter.gradient.map { ("\(element.part) \(element.name)", $0.values) }
                })
        }
    }

    /// Two layers, because each layer multiplies what sums of float32 in another order differ by.
    @Test func processesGetTheGradientOfTheJoinedBatch() throws {
        let small = try SmallCheckpoint(), path = small.path
        let joined = try Model(path), examples = try joined.examples()
        let totals = examples.map(joined.objective.terms).reduce([0, 0]) { zip($0, $1).map(+) }
        #expect(totals == [15, 1])
        let sums = try joined.objective.differentiate(examples, totals: totals, seed: 1)
        let wanted = joined.gradients()
        #expect(wanted.count == joined.trainables.elements.count)

        let results = try ThreadGroup.run(2) { group in
            let model = try Model(path), all = try model.examples()
            let own = group.rank == 0 ? all[..<1] : all[1...]
            let exchange = GradientExchange(
                GradientExchange.forwardOrder(model.trainables.elements).map(\.parameter), group: group,
                bucketBytes: 4096)
            let counts = own.map(model.objective.terms).reduce([0, 0]) { zip($0, $1).map(+) }
            let totals = try group.sum(counts.map { Double($0) }).map { Int($0) }
            let sums = try model.objective.differentiate(
                Array(own), totals: totals, seed: 1, observer: exchange.observer)
            let begun = group.begun
            try exchange.finish()
            #expect(begun > 0 && begun == group.begun, "all sums began before the end of backpropagation")
            return (try group.sum(sums), model.gradients())
        }
        withExtendedLifetime(small) {}
        for (sum, gradients) in results {
            for (part, value) in sums.enumerated() { #expect(difference(sum[part], value) < 1e-6) }
            for (name, gradient) in wanted {
                #expect(difference(try #require(gradients[name]), gradient.map(Double.init)) < 1e-5, "\(name)")
            }
        }
    }
}
