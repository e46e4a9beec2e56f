import CKernels
import LyraBase

// Stacking, selecting, replacing, repeating and transposing rows and columns of matrices. The only arithmetic is sums.

extension Tensor {
    /// The rows of all `tensors`, one tensor after the other. [rows of all, columns]
    ///
    /// - Throws: `LyraError.argument` if their columns differ.
    public static func stacking(_ tensors: [Tensor]) throws -> Tensor {
        let columns = tensors.first?.columns ?? 0
        guard tensors.allSatisfy({ $0.columns == columns }) else {
            throw LyraError(.argument, "tensors of shapes \(tensors.map(\.shape)) cannot be stacked")
        }
        let result = try Tensor([tensors.reduce(0) { $0 + $1.rows }, columns]) { out in
            var target = out
            for tensor in tensors {
                try tensor.copyRows(to: target, rowStride: columns)
                target += tensor.count
            }
        }
        guard tensors.contains(where: \.isTracked) else { return result }
        return result.recorded(.stacking(tensors.map { Operand($0) }))
    }

    /// Each operand gets its rows of the gradient.
    static func propagateStacking(_ gradient: Tensor, _ operands: [Operand]) throws {
        var row = 0
        for operand in operands {
            try operand.node?.add(gradient.rows(row..<row + operand.rows))
            row += operand.rows
        }
    }

    /// Overwrites the rows from `first` on with `new`.
    ///
    /// - Throws: `LyraError.argument` if the rows do not fit.
    public mutating func replace(rowsFrom first: Int, with new: Tensor) throws {
        guard first >= 0, new.rows <= rows - first, new.columns == columns else {
            throw LyraError(.argument, "rows \(new.shape) do not fit at row \(first) of \(shape)")
        }
        let columns = columns, old = Operand(self), isTracked = isTracked || new.isTracked
        try withMutableValues { try new.copyRows(to: $0 + first * columns, rowStride: columns) }
        if isTracked { self = recorded(.replacing(old, rows: first..<first + new.rows, with: Operand(new))) }
    }

    /// The replaced rows of the gradient go to the new rows, the others to the old tensor.
    static func propagateReplacing(_ gradient: Tensor, _ old: Operand, _ rows: Range<Int>, _ new: Operand) throws {
        try new.node?.add(gradient.rows(rows))
        guard let node = old.node else { return }
        var rest = gradient
        try rest.replace(rowsFrom: rows.lowerBound, with: Tensor(zeros: [rows.count, gradient.columns]))
        try node.add(rest)
    }

    /// The rows at `indices`, in that order.
    ///
    /// - Throws: `LyraError.argument` for an index that is not a row.
    public func keepingRows(_ indices: some Collection<Int32>) throws -> Tensor {
        if let wrong = indices.first(where: { !(0..<rows).contains(Int($0)) }) {
            throw LyraError(.argument, "row \(wrong) is not in a tensor of shape \(shape)")
        }
        let result = try Tensor([indices.count] + shape.dropFirst()) { out in
            try withMatrix { values, stride in
                for (row, index) in indices.enumerated() {
                    if row % 1024 == 0 { try Interruption.check() }
                    (out + row * columns).update(from: values + Int(index) * stride, count: columns)
                }
            }
        }
        guard let node else { return result }
        return result.recorded(.keepingRows(of: node, Array(indices)))
    }

    /// Row r of the gradient is added to the row that row r was taken from.
    static func propagateKeepingRows(_ gradient: Tensor, _ x: GradientNode, _ indices: [Int32]) throws {
        let columns = gradient.columns
        try x.accumulate { sum in
            gradient.withMatrix { values, stride in
                for (row, index) in indices.enumerated() {
                    lk_add(sum + Int(index) * columns, values + row * stride, columns)
                }
            }
        }
    }

    /// Repeats every row `count` times. [rows, columns] → [rows · count, columns]
    public func repeatingRows(_ count: Int) throws -> Tensor {
        let result = try Tensor([rows.saturatingMultiplying(by: count), columns]) { out in
            withMatrix { values, stride in
                for row in 0..<rows * count {
                    (out + row * columns).update(from: values + row / count * stride, count: columns)
                }
            }
        }
        guard let node else { return result }
        return result.recorded(.repeatingRows(of: node, count))
    }

    /// Every row gets the sum of the gradients of its copies.
    static func propagateRepeatingRows(_ gradient: Tensor, _ x: GradientNode, _ count: Int) throws {
        let columns = gradient.columns
        try x.accumulate { sum in
            gradient.withMatrix { values, stride in
                for row in 0..<gradient.rows { lk_add(sum + row / count * columns, values + row * stride, columns) }
            }
        }
    }

    /// [rows, columns] → [columns, rows]
    public func transposed() throws -> Tensor {
        let (rows, columns) = (rows, columns)
        let result = try Tensor([columns, rows]) { out in
            try withMatrix { values, stride in
                for row in 0..<rows {
                    if row % 64 == 0 { try Interruption.check() }
                    for column in 0..<columns { out[column * rows + row] = values[row * stride + column] }
                }
            }
        }
        guard let node else { return result }
        return result.recorded(.transposing(node))
    }

    /// self + other. If self has n times as many rows as `other`, the rows of `other` repeat n times.
    ///
    /// - Parameter other: [rows / n, columns]
    /// - Throws: `LyraError.argument` if the shapes do not fit.
    public consuming func adding(_ other: Tensor) throws -> Tensor {
        var result = self
        guard result.columns == other.columns, other.rows > 0, result.rows % other.rows == 0 else {
            throw LyraError(.argument, "a tensor \(other.shape) cannot be added to \(result.shape)")
        }
        let (rows, count) = (result.rows / other.rows, other.count)
        let operand = Operand(result)
        try result.withMutableValues { sum in
            try other.withValues { other in
                for row in 0..<rows { lk_add(sum + row * count, other, count) }
            }
        }
        guard operand.node != nil || other.isTracked else { return result }
        return result.recorded(.adding(operand, Operand(other)))
    }

    /// Both get the gradient; a tensor whose rows were repeated gets the sum over the repetitions.
    static func propagateAdding(_ gradient: Tensor, _ a: Operand, _ b: Operand) throws {
        try a.node?.add(gradient)
        for row in stride(from: 0, to: gradient.rows, by: b.rows) {
            try b.node?.add(gradient.rows(row..<row + b.rows))
        }
    }

    /// Adds a matrix to some rows and columns of this one.
    mutating func add(_ other: Tensor, atRow row: Int, column: Int) throws {
        let columns = columns, (rows, width) = (other.rows, other.columns)
        try withMutableValues { sum in
            other.withMatrix { lk_add_rows(sum + row * columns + column, columns, $0, $1, rows, width) }
        }
    }

    /// `factor` · self.
    public consuming func scaled(by factor: Float) throws -> Tensor {
        var result = self
        let count = result.count, node = result.node
        try result.withMutableValues { lk_scale($0, count, factor) }
        guard let node else { return result }
        return result.recorded(.scaling(node, factor))
    }

    /// The column of the largest value in each row; the first on ties.
    public func indicesOfLargest() -> [Int] {
        withMatrix { values, stride in (0..<rows).map { lk_argmax(values + $0 * stride, columns) } }
    }
}

extension GrowingBuffer<Float> {
    /// Appends all values in row-major order.
    ///
    /// - Throws: `LyraError.memory` if there is no room; the buffer is then unchanged.
    public func append(_ tensor: Tensor) throws {
        try tensor.withValues { try append(UnsafeBufferPointer(start: $0, count: tensor.count)) }
    }
}
