import LyraBase
import LyraDatasets

/// Items of one or more files, from which a data loader makes examples. Several threads use a list.
package protocol ExampleList: Sendable {
    associatedtype Example: Sendable

    /// The files, in the order of their items.
    var files: [ExampleFile] { get }

    /// About as many rows as an example has. May depend on its files, but not on time.
    func estimatedLength(_ item: Int) -> Int

    /// Makes the example of an item.
    ///
    /// - Parameter item: counted over all files, from 0
    /// - Throws: `LyraError`, with the item's place, if the example is bad.
    func example(_ item: Int) throws -> Example
}

/// A file of items.
package struct ExampleFile: Sendable, Equatable {
    package let count: Int
    /// How often an epoch has each item; with 0.5, an epoch has half of the items, and the next epoch the other half.
    /// With a limit on the tokens of a batch all epochs have the draws of the first, so that a recipe of several epochs
    /// must have whole numbers then.
    package let weight: Double

    package init(count: Int, weight: Double = 1) { (self.count, self.weight) = (count, weight) }
}

/// The conversations of data sets.
package struct DatasetExamples: ExampleList {
    /// An objective's own check of an example; what it throws makes the example bad.
    package typealias Check = @Sendable (TrainingExample) throws -> Void

    package let files: [ExampleFile]
    private let datasets: [IndexedDataset]
    private let builder: ExampleBuilder
    private let check: Check

    package init(
        _ datasets: [(dataset: IndexedDataset, weight: Double)], _ builder: ExampleBuilder,
        check: @escaping Check = { _ in }
    ) {
        files = datasets.map { ExampleFile(count: $0.dataset.count, weight: $0.weight) }
        self.datasets = datasets.map(\.dataset)
        (self.builder, self.check) = (builder, check)
    }

    package func estimatedLength(_ item: Int) -> Int {
        let estimate = try? builder.estimatedLength(of: ExampleConversation(self.item(item)))
        return estimate ?? 0
    }

    package func example(_ item: Int) throws -> TrainingExample {
        let item = try self.item(item)
        do {
            let example = try builder.example(item)
            try check(example)
            return example
        } catch let error as LyraError {
            // A check can name the place itself.
            guard !error.message.hasPrefix(item.place) else { throw error }
            throw LyraError(error.code, "\(item.place): \(error.message)")
        } catch {
            throw LyraError(.format, "\(item.place): \(error)")
        }
    }

    func item(_ number: Int) throws -> DatasetItem {
        var rest = number
        for dataset in datasets {
            if rest < dataset.count { return try dataset.item(at: rest) }
            rest -= dataset.count
        }
        throw LyraError(.argument, "there is no item \(number)")
    }
}
