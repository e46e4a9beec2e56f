import LyraBase
import LyraTensor

/// The latent multi-modality extractor (arXiv 2412.09501): after each block of layers except the last, keeps only the
/// media tokens that the text attends to most.
public struct Extractor: Sendable, Equatable {
    /// How the layers are split.
    enum Split: Equatable {
        case blocks(Int)
        case gap(Int)
    }

    let split: Split
    /// ρ: the share of media tokens kept after a block, above 0 and at most 1.
    public let keep: Float

    /// Prunes after every layers / n layers, rounded down, as in the paper: there are n blocks if n divides the number
    /// of layers, otherwise more.
    ///
    /// - Throws: `LyraError.argument` for a number out of range.
    public init(blocks: Int, keep: Float) throws { try self.init(.blocks(blocks), blocks, keep) }

    /// Prunes after every `gap` layers, as `compress_gap` of a checkpoint specifies.
    ///
    /// - Throws: `LyraError.argument` for a number out of range.
    public init(gap: Int, keep: Float) throws { try self.init(.gap(gap), gap, keep) }

    private init(_ split: Split, _ count: Int, _ keep: Float) throws {
        guard count >= 1, count <= 1024 else {
            throw LyraError(.argument, "the extractor's number of blocks or gap is \(count); it must be 1 to 1024")
        }
        guard keep > 0, keep <= 1 else {
            throw LyraError(.argument, "the extractor keeps a share of \(keep); it must be above 0 and at most 1")
        }
        (self.split, self.keep) = (split, keep)
    }
}

/// Where a decoder prunes media tokens, and how many.
public struct ExtractionSchedule: Sendable, Equatable {
    /// Pruning keeps at least this many media tokens, or all if there are fewer.
    static let fewest = 32

    /// Number of layers between two prunings.
    let gap: Int
    let keep: Float

    /// The schedule of an extractor over `layers` layers; nil if it would prune nothing.
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

    /// Whether tokens are pruned between `layer` and the next of `layers`.
    func prunes(after layer: Int, of layers: Int) -> Bool { (layer + 1) % gap == 0 && layer + 1 < layers }

    /// Number of media tokens kept, out of `count`. The product uses single precision, as in the reference.
    func keptCount(of count: Int) -> Int {
        guard count >= Self.fewest else { return count }
        return min(count, max(Self.fewest, Int(Float(count) * keep)))
    }

    /// Number of media tokens that each of `layers` layers computes, given `count` in the first layer.
    public func counts(of count: Int, layers: Int) -> [Int] {
        var remaining = count
        return (0..<layers).map { layer in
            defer { if prunes(after: layer, of: layers) { remaining = keptCount(of: remaining) } }
            return remaining
        }
    }

    /// Indices of the `keptCount` largest scores, in ascending order. Ties keep the lower index.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    func choose(_ scores: some Collection<Float>) throws -> GrowingBuffer<Int32> {
        // NaN counts as the smallest score.
        let numbers = try GrowingBuffer(copying: scores.lazy.map { $0.isNaN ? -.infinity : $0 })
        let chosen = try ranked(numbers)
        chosen.truncate(to: keptCount(of: numbers.count))
        let isKept = try GrowingBuffer(repeating: false, count: numbers.count)
        for index in chosen { isKept[Int(index)] = true }
        chosen.removeAll(keeping: .max)  // keeps the memory for the next lines
        for index in isKept.indices where isKept[index] { try chosen.append(Int32(index)) }
        return chosen
    }
}

// MARK: - During a prefill

/// The extractor's state during a prefill.
struct Extraction {
    let schedule: ExtractionSchedule
    /// Roles of the remaining rows, and (in `origins`) their indices in the prompt.
    private var roles: GrowingBuffer<TokenRole>
    private var origins: GrowingBuffer<Int32>
    /// Index of the first media row. Text rows after it are the question. Pruning keeps all rows before it, so the
    /// index stays valid.
    private let firstMedium: Int
    /// Rotated queries of the layer in progress: [rows, heads · headDim] each.
    private var queries: [Tensor] = []
    private(set) var kept: [GrowingBuffer<Int32>] = []

    /// Nil if there is nothing to prune: no media, or no text after them.
    ///
    /// - Throws: `LyraError.memory` if there is no room.
    init?(_ schedule: ExtractionSchedule, roles: some Collection<TokenRole>) throws {
        let all = try GrowingBuffer(copying: roles)
        guard let firstMedium = all.firstIndex(of: .media), all[firstMedium...].contains(.text) else { return nil }
        self.schedule = schedule
        self.roles = all
        self.firstMedium = firstMedium
        origins = try GrowingBuffer(copying: 0..<Int32(all.count))
    }

    var mediaCount: Int { roles.reduce(0) { $0 + ($1 == .media ? 1 : 0) } }

    /// Collects the queries of the chunk's text rows that follow a medium.
    ///
    /// - Parameter new: [rows of the chunk, heads · headDim], rotated
    mutating func collectQueries(_ new: Tensor, of chunk: Range<Int>) throws {
        let text = chunk.filter { $0 >= firstMedium && roles[$0] == .text }
        if !text.isEmpty { queries.append(try new.keepingRows(text.map { Int32($0 - chunk.lowerBound) })) }
    }

    /// Selects rows by their mean attention weight over the collected queries; the softmax covers all keys of the
    /// layer, including those of earlier turns.
    ///
    /// - Parameter newRows: number of rows of this prompt; they are the last rows of the cache
    /// - Returns: the rows to keep, including text
    mutating func selectRows(_ cache: KeyValueCache, heads: Int, newRows: Int) throws -> GrowingBuffer<Int32> {
        let scores = try cache.meanAttentionWeights(queries: Tensor.stacking(queries), heads: heads)
        queries = []
        let past = cache.rows - newRows, old = roles
        let media = try indices { old[$0] == .media }
        let chosen = try schedule.choose(media.lazy.map { scores[past + Int($0)] })
        for (place, index) in chosen.enumerated() { chosen[place] = media[Int(index)] }
        kept.append(try origins.picking(chosen))
        let isKept = try GrowingBuffer(copying: old.lazy.map { $0 == .text })
        for row in chosen { isKept[Int(row)] = true }
        let remaining = try indices { isKept[$0] }
        roles = try old.picking(remaining)
        origins = try origins.picking(remaining)
        return remaining
    }

    /// Indices of rows for which `isWanted` returns true.
    private func indices(where isWanted: (Int) -> Bool) throws -> GrowingBuffer<Int32> {
        let result = GrowingBuffer<Int32>()
        for row in 0..<roles.count where isWanted(row) { try result.append(Int32(row)) }
        return result
    }
}
