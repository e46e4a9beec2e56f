import LyraBase

/// The numbers of a training run: one JSON object on each line, with `step` and any of the other keys.
package struct LoggedRun {
    /// What a run records. The names are the log's keys.
    package enum Quantity: String, CaseIterable, Sendable {
        case loss
        case crossEntropy = "cross_entropy"
        case regularizer = "lcmr"
        case ctc
        case validationLoss = "validation_loss"
        case learningRate = "learning_rate"
        case gradientNorm = "gradient_norm"
        case examplesPerSecond = "examples_per_second"
        case tokensPerSecond = "tokens_per_second"
        case seconds
    }

    package struct Entry {
        package var step: Double
        package var values: [Quantity: Double]
    }

    package let name: String
    /// In the order of their steps, which are all different.
    package private(set) var entries: [Entry] = []

    /// Reads a log. Other keys, lines without a step, and numbers that are not finite are left out. If the run was
    /// continued from a checkpoint, and so repeats steps, the later lines count. A last line that is not finished is
    /// ignored, because the run may still be writing it.
    ///
    /// - Parameter name: for the legend
    /// - Throws: `LyraError` that names the file and the line, also if no line has a step and a number.
    package init(path: String, name: String) throws {
        self.name = name
        var damaged: LyraError?
        try TextLines.read(path) { line, place in
            if let damaged { throw damaged }
            do {
                var line = line
                add(try line.withUTF8 { try JSONValue(UnsafeRawBufferPointer($0), source: place) })
            } catch let error as LyraError { damaged = error }
        }
        if let damaged, try TextLines.endsWithLineBreak(path) { throw damaged }
        guard !entries.isEmpty else {
            throw LyraError(
                .format, "\(path): not a training log: no line is an object with \"step\" and \"loss\"")
        }
    }

    private mutating func add(_ line: JSONValue) {
        guard let step = Self.finite(line["step"]) else { return }
        var values: [Quantity: Double] = [:]
        for quantity in Quantity.allCases { values[quantity] = Self.finite(line[quantity.rawValue]) }
        guard !values.isEmpty else { return }
        while let last = entries.last, last.step > step { entries.removeLast() }
        if let last = entries.last, last.step == step {
            entries[entries.count - 1].values.merge(values) { _, new in new }
        } else {
            entries.append(Entry(step: step, values: values))
        }
    }

    /// Nil for anything but a number that can be drawn.
    private static func finite(_ value: JSONValue?) -> Double? {
        guard let number = value?.number, abs(number) < 1e100 else { return nil }
        return abs(number) < 1e-100 ? 0 : number
    }

    /// The values of a quantity, over the steps or over the seconds.
    package func points(_ quantity: Quantity, overSeconds: Bool) -> [(x: Double, y: Double)] {
        entries.compactMap { entry in
            guard let y = entry.values[quantity] else { return nil }
            if overSeconds { return entry.values[.seconds].map { ($0, y) } }
            return (entry.step, y)
        }
    }
}
