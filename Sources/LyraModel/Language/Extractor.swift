import LyraBase
import LyraTensor

/// The latent multi-modality extractor (arXiv 2412.09501): after each block of layers but the last, only the media tokens
/// that the text attends to most stay.
public struct Extractor: Sendable, Equatable {
    /// How the layers are split.
    enum Split: Equatable {
        case blocks(Int)
        case gap(Int)
    }

    let split: Split
    /// The share of media tokens that stays after a block, above 0 and at most 1: ρ.
    public let keep: Float

    /// Splits the layers into n blocks of layers / n each, rounded down, as in the paper; what is left over follows the last.
    ///
    /// - Throws: `LyraError.argument` for a number out of its range.
    public init(blocks: Int, keep: Float) throws { try self.init(.blocks(blocks), blocks, keep) }

    /// Lets tokens go after every `gap` layers, as `compress_gap` of a checkpoint says.
    ///
    /// - Throws: `LyraError.argument` for a number out of its range.
    public init(gap: Int, keep: Float) throws { try self.init(.gap(gap), gap, keep) }

    private init(_ split: Split, _ count: Int, _ keep: Float) throws {
        guard count >= 1, count <= 1024 else {
            throw LyraError(.argument, "the extractor's blocks or gap are \(count); they must be 1 … 1024")
        }
        guard keep > 0, keep <= 1 else {
            throw LyraError(.argument, "the extractor keeps a share of \(keep); it must be above 0 and at most 1")
        }
        (self.split, self.keep) = (split, keep)
    }
}

/// Where a decoder prunes media tokens, and how many.
public struct ExtractionSchedule: Sendable, Equatable {
    /// Fewer than this never stay, unless there were fewer.
    static let fewest = 32

    /// Layers between two droppings.
    let gap: Int
    let keep: Float

    /// The schedule of an extractor over `layers` layers; nil where nothing would be dropped.
    public init?(_ extractor: Extractor, layers: Int) {
        let gap =
            switch extractor.split {
            case .blocks(let count): max(1, layers / count)
            case .gap(let gap): gap
            }
        self.init(gap: gap, keep: extractor.keep, layers: layers)
    }

    /// - Parameters:
    ///   - gap: `compress_gap` of a checkpoint's config.json
    ///   - keep: its `keep_rate`
    init?(gap: Int, keep: Float, layers: Int) {
        guard gap >= 1, gap < layers, keep > 0, keep < 1 else { return nil }
        (self.gap, self.keep) = (gap, keep)
    }

    /// Whether tokens are dropped between `layer` and the next of `layers`.
    func prunes(after layer: Int, of layers: Int) -> Bool { (layer + 1) % gap == 0 && layer + 1 < layers }

    /// How many of `count` media tokens stay. The product is taken in single precision, as in the reference.
    func keptCount(of count: Int) -> Int {
        guard count >= Self.fewest else { return count }
        return min(count, max(Self.fewest, Int(Float(count) * keep)))
    }

    /// Media tokens that each of `layers` layers computes, if the first computes `count`.
    public func counts(of count: Int, layers: Int) -> [Int] {
        var alive = count
        return (0..<layers).map { layer in
            defer { if prunes(after: layer, of: layers) { alive = keptCount(of: alive) } }
            return alive
        }
    }

    /// The indices of the `keptCount` largest scores, in their order; of equal scores the first.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    func choose(_ scores: some Collection<Float>) throws -> GrowingBuffer<Int32> {
        // A score that is no number counts as the smallest.
        let numbers = try GrowingBuffer(copying: scores.lazy.map { $0.isNaN ? -.infinity : $0 })
        let chosen = try ranked(numbers)
        chosen.truncate(to: keptCount(of: numbers.count))
        let stays = try GrowingBuffer(repeating: false, count: numbers.count)
        for index in chosen { stays[Int(index)] = true }
        chosen.removeAll(keeping: .max)
        for index in stays.indices where stays[index] { try chosen.append(Int32(index)) }
        return chosen
    }
}
