import LyraTensor

/// The adapter of each row that a layer computes. The rows of one sequence share it; those of several conversations
/// each have their own.
struct RowAdapters: Sendable, ExpressibleByNilLiteral {
    /// Adjacent rows with the same adapter; an adapter of nil is no adapter.
    struct Run: Equatable, Sendable {
        var rows: Range<Int>
        var adapter: Int?
    }

    /// Whether the rows belong together.
    let kind: RowKind
    /// Nil if all rows have the adapter `shared`.
    private let separate: [Run]?
    private let shared: Int?

    /// All rows are of one sequence.
    init(_ adapter: Int?) { (kind, separate, shared) = (.together, nil, adapter) }

    init(nilLiteral: ()) { self.init(nil) }

    /// Each row is of another conversation.
    init(ofConversations adapters: [Int?]) {
        var runs: [Run] = []
        for (row, adapter) in adapters.enumerated() {
            if let last = runs.last, last.adapter == adapter {
                runs[runs.count - 1].rows = last.rows.lowerBound..<row + 1
            } else {
                runs.append(Run(rows: row..<row + 1, adapter: adapter))
            }
        }
        (kind, shared) = (.apart, runs.first?.adapter)
        separate = runs.count > 1 ? runs : nil
    }

    /// Runs of rows with one adapter each; one run of `count` rows if all share it.
    func runs(_ count: Int) -> [Run] { separate ?? [Run(rows: 0..<count, adapter: shared)] }
}

extension Replaceable {
    /// What `body` makes of each run of rows with the value of the run's adapter, stacked.
    func apply(_ x: Tensor, _ adapters: RowAdapters, _ body: (Value, Tensor) throws -> Tensor) throws -> Tensor {
        let runs = adapters.runs(x.rows)
        guard runs.count > 1, runs.contains(where: { $0.adapter.flatMap { replacement(of: $0) } != nil }) else {
            return try body(self(runs.first?.adapter), x)
        }
        return try Tensor.stacking(runs.map { try body(self($0.adapter), x.rows($0.rows)) })
    }
}

extension Replaceable<RMSNorm> {
    func callAsFunction(_ x: Tensor, _ adapters: RowAdapters) throws -> Tensor {
        try apply(x, adapters) { norm, x in try norm(x) }
    }
}
