import Glibc
import LyraBase

/// Soft dynamic time warping (Cuturi and Blondel, 2017, arXiv 1703.01541): the cost of the best alignment of two
/// sequences, with a soft minimum that makes it differentiable. An alignment is a path from the first pair to the last
/// in steps of one row, one column, or both.
///
/// In double precision, because differences of sums over the whole path are divided by γ.
struct SoftDTW {
    /// γ of the soft minimum −γ log Σ e^(−x/γ); above 0.
    let gamma: Double

    /// A matrix with a border above and to the left, so that every element has three predecessors.
    struct Bordered {
        let values: GrowingBuffer<Double>
        let stride: Int

        /// - Throws: `LyraError.memory` if there is no room.
        init(repeating value: Double, rows: Int, columns: Int) throws {
            stride = columns + 1
            guard let count = stride.checkedMultiplying(by: rows + 1) else {
                throw LyraError(.memory, "an alignment of \(rows) rows and \(columns) columns is too large")
            }
            values = try GrowingBuffer(repeating: value, count: count)
        }

        /// Row and column 0 are the border.
        subscript(row: Int, column: Int) -> Double {
            get { values[row * stride + column] }
            nonmutating set { values[row * stride + column] = newValue }
        }
    }

    /// - Parameter costs: of each pair, in a border that is not read
    /// - Returns: the soft minimum over all paths, and its gradient with respect to each cost: the expected number of
    ///   paths through the pair, between 0 and 1
    /// - Throws: `LyraError.memory` if there is no room, `.state` if interrupted.
    func callAsFunction(_ costs: Bordered, rows: Int, columns: Int) throws -> (value: Double, alignment: Bordered) {
        let totals = try accumulate(costs, rows, columns)
        return (totals[rows, columns], try align(totals, rows, columns))
    }

    /// The soft minimum alone.
    func value(_ costs: Bordered, rows: Int, columns: Int) throws -> Double {
        try accumulate(costs, rows, columns)[rows, columns]
    }

    /// totals[i, j] = costs[i, j] + softmin(totals[i−1, j−1], totals[i−1, j], totals[i, j−1])
    private func accumulate(_ costs: Bordered, _ rows: Int, _ columns: Int) throws -> Bordered {
        let totals = try Bordered(repeating: .infinity, rows: rows, columns: columns)
        totals[0, 0] = 0
        for row in 1...rows {
            try Interruption.check()
            for column in 1...columns {
                let before = softMinimum(totals[row - 1, column - 1], totals[row - 1, column], totals[row, column - 1])
                totals[row, column] = costs[row, column] + before
            }
        }
        return totals
    }

    private func softMinimum(_ a: Double, _ b: Double, _ c: Double) -> Double {
        let least = min(a, b, c)
        return least - gamma * log(exp((least - a) / gamma) + exp((least - b) / gamma) + exp((least - c) / gamma))
    }

    /// The backward recursion. The derivatives of a soft minimum are shares of 1, e^(−x/γ) / Σ e^(−x/γ), so each pair
    /// passes these shares of its own derivative to its predecessors. They are the factors of the paper's algorithm 2,
    /// computed without differences of large totals.
    private func align(_ totals: Bordered, _ rows: Int, _ columns: Int) throws -> Bordered {
        let alignment = try Bordered(repeating: 0, rows: rows, columns: columns)
        alignment[rows, columns] = 1
        for row in stride(from: rows, to: 0, by: -1) {
            try Interruption.check()
            for column in stride(from: columns, to: 0, by: -1) {
                let (both, above, left) = (
                    totals[row - 1, column - 1], totals[row - 1, column], totals[row, column - 1]
                )
                let least = min(both, above, left)
                let shares = (
                    both: exp((least - both) / gamma), above: exp((least - above) / gamma),
                    left: exp((least - left) / gamma)
                )
                let factor = alignment[row, column] / (shares.both + shares.above + shares.left)
                alignment[row - 1, column - 1] += factor * shares.both
                alignment[row - 1, column] += factor * shares.above
                alignment[row, column - 1] += factor * shares.left
            }
        }
        return alignment
    }
}
