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
    /// - Parameters:
    ///   - item: counted over all files, from 0
    ///   - epoch: counted from 0; what is random in an example may differ from epoch to epoch, and follows from item
    ///     and epoch
    /// - Throws: `LyraError`, with the item's place, if the example is bad.
    func example(_ item: Int, epoch: Int) throws -> Example

    /// Where an item stands, as errors about it begin; empty if it has no place.
    func place(of item: Int) -> String
}

extension ExampleList {
    package func place(of item: Int) -> String { "" }
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

/// Makes examples of a data set's items, for one kind of training.
package protocol ItemReading: Sendable {
    associatedtype Example: Sendable

    /// About as many rows as the example will have, quickly.
    func estimatedLength(of item: DatasetItem) throws -> Int

    /// - Parameter random: for what is random in an example
    /// - Throws: an error that need not name the item's place
    func example(_ item: DatasetItem, random: SplitMix64) throws -> Example
}

/// The items of data sets.
package struct DatasetExamples<Reader: ItemReading>: ExampleList {
    /// An objective's own check of an example; what it throws makes the example bad.
    package typealias Check = @Sendable (Reader.Example) throws -> Void

    package let files: [ExampleFile]
    private let datasets: [IndexedDataset]
    private let reader: Reader
    private let seed: UInt64
    private let check: Check

    /// - Parameter seed: of what is random in an example
    package init(
        _ datasets: [(dataset: IndexedDataset, weight: Double)], _ reader: Reader, seed: UInt64 = 0,
        check: @escaping Check = { _ in }
    ) {
        files = datasets.map { ExampleFile(count: $0.dataset.count, weight: $0.weight) }
        self.datasets = datasets.map(\.dataset)
        (self.reader, self.seed, self.check) = (reader, seed, check)
    }

    package func estimatedLength(_ item: Int) -> Int {
        let estimate = try? reader.estimatedLength(of: self.item(item))
        return estimate ?? 0
    }

    package func example(_ number: Int, epoch: Int) throws -> Reader.Example {
        let item = try item(number)
        do {
            let example = try reader.example(item, random: SplitMix64(seed: seed, for: .example, epoch, number))
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

    package func place(of item: Int) -> String {
        location(of: item).map { $0.dataset.place(of: $0.index) } ?? ""
    }

    func item(_ number: Int) throws -> DatasetItem {
        guard let (dataset, index) = location(of: number) else {
            throw LyraError(.argument, "there is no item \(number)")
        }
        return try dataset.item(at: index)
    }

    private func location(of number: Int) -> (dataset: IndexedDataset, index: Int)? {
        var rest = number
        for dataset in datasets {
            if rest < dataset.count { return (dataset, rest) }
            rest -= dataset.count
        }
        return nil
    }
}

extension ExampleBuilder: ItemReading {
    package func estimatedLength(of item: DatasetItem) throws -> Int {
        try estimatedLength(of: ExampleConversation(item))
    }

    /// Nothing is random in a conversation.
    package func example(_ item: DatasetItem, random: SplitMix64) throws -> TrainingExample { try example(item) }
}
