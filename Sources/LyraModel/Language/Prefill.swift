import LyraBase
import LyraTensor

/// What a prompt row represents.
public enum TokenRole: UInt8, Sendable, BitwiseCopyable {
    case text
    /// Speech, sound, an image or a video.
    case media
}

/// The prefill of a prompt: layer by layer, and chunk by chunk within a layer. The hidden states of all rows stay in
/// memory; all other buffers are bounded by the chunk.
///
/// This order lets the extractor see all rows of a layer before it prunes. Without an extractor, a long prompt can be
/// split into several prefills, so that only some of its rows are in memory.
public struct Prefill {
    /// Rows of one step: enough to keep the matrix kernels busy, few enough for short steps.
    public static let chunkRows = 512

    private var positions: GrowingBuffer<Position>
    private var hidden: Tensor
    private var layer = 0
    private var row = 0
    private let layers: Int
    private var extraction: Extraction?
    /// The adapter of the last step.
    private var adapter: Int?
    /// Number of rows that each layer computes.
    private let plan: [Int]

    /// - Parameters:
    ///   - embeddings: [tokens, hidden], at least one row
    ///   - positions: one for each row
    ///   - roles: one for each row; only needed with an extractor
    ///   - schedule: where media tokens are pruned; nil for no pruning
    /// - Throws: `LyraError.argument` if the counts differ, `.memory` if there is no room.
    public init(
        _ decoder: Decoder, embeddings: Tensor, positions: some Collection<Position>,
        roles: some Collection<TokenRole> = [],
        schedule: ExtractionSchedule? = nil
    ) throws {
        guard embeddings.rows == positions.count, !positions.isEmpty else {
            throw LyraError(.argument, "\(embeddings.rows) embeddings with \(positions.count) positions to prefill")
        }
        guard schedule == nil || roles.count == positions.count else {
            throw LyraError(.argument, "\(roles.count) roles for \(positions.count) rows to prefill")
        }
        self.positions = try GrowingBuffer(copying: positions)
        hidden = embeddings
        layers = decoder.layerCount
        extraction = try schedule.flatMap { try Extraction($0, roles: roles) }
        plan = Prefill.plan(rows: positions.count, extraction, layers: layers)
    }

    private static func plan(rows: Int, _ extraction: Extraction?, layers: Int) -> [Int] {
        guard let extraction else { return [Int](repeating: rows, count: layers) }
        let media = extraction.mediaCount
        return extraction.schedule.counts(of: media, layers: layers).map { rows - media + $0 }
    }

    /// Token-layers computed so far, and in total.
    public var progress: (done: Int, total: Int) { (plan[..<layer].reduce(row, +), plan.reduce(0, +)) }

    public var isDone: Bool { layer == layers }

    /// The media rows kept at each pruning, as indices into the prompt.
    public var kept: [GrowingBuffer<Int32>] { extraction?.kept ?? [] }

    /// Number of rows that this prefill adds to each layer's cache.
    public var cacheRows: [Int] { plan }

    /// Computes one chunk of one layer and appends its keys and values to that layer's cache.
    public mutating func step(_ decoder: Decoder, caches: [KeyValueCache], adapter: Int?) throws {
        guard !isDone else { return }
        self.adapter = adapter
        let chunk = row..<min(row + Self.chunkRows, positions.count)
        let prunes = extraction?.schedule.prunes(after: layer, of: layers) ?? false
        let result = try decoder.layers[layer](
            hidden.rows(chunk), rotation: decoder.rotation(positions[chunk]), cache: caches[layer],
            adapters: RowAdapters(adapter))
        try hidden.replace(rowsFrom: chunk.lowerBound, with: result.output)
        if prunes { try extraction?.collectQueries(result.queries, of: chunk) }
        row = chunk.upperBound
        guard row == positions.count else { return }
        if prunes { try prune(caches[layer], heads: decoder.configuration.heads) }
        try caches[layer].quantizeOlderPages()
        (layer, row) = (layer + 1, 0)
    }

    /// Prunes the media rows that the text attends to least. Later layers do not compute them.
    private mutating func prune(_ cache: KeyValueCache, heads: Int) throws {
        guard let alive = try extraction?.selectRows(cache, heads: heads, newRows: positions.count) else { return }
        if alive.count < positions.count {
            hidden = try hidden.keepingRows(alive)
            positions = try positions.picking(alive)
        }
    }

    /// The hidden states of the last positions after the final norm, [rows, hidden]; available once `isDone`.
    ///
    /// - Parameter count: how many; fewer if the prefill has fewer
    public func lastRows(_ decoder: Decoder, count: Int = 1) throws -> Tensor {
        guard isDone else { throw LyraError(.state, "the prompt is not prefilled yet") }
        return try decoder.normalize(
            hidden.rows(max(0, positions.count - count)..<positions.count), adapter: adapter)
    }
}
