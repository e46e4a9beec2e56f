import LyraBase
import LyraModel
import LyraTensor

/// Trains a speech or vision tower from nothing: linear heads over the rows of its output predict labels.
///
/// A head's loss is a mean over examples: of framewise cross-entropy (itself a mean over the labelled rows), or of CTC
/// (divided by the length of the sequence).
package struct TowerObjective: Objective {
    package enum Tower: Sendable {
        case speech(WhisperEncoder)
        case vision(VisionEncoder)

        /// Columns of the output.
        var width: Int {
            switch self {
            case .speech(let encoder): encoder.configuration.width
            case .vision(let encoder): encoder.configuration.outputWidth
            }
        }

        /// Values of a layer's output for one row of the tower's.
        var innerValues: Int {
            switch self {
            case .speech(let encoder): encoder.configuration.width
            case .vision(let encoder):
                encoder.configuration.width * encoder.configuration.merge * encoder.configuration.merge
            }
        }
    }

    package let tower: Tower
    package let heads: [LabelHead]
    package let parts: [LossPart]
    private let recomputesLayers: Bool
    private let ctc = CTCLoss(collapsesTargets: false)

    /// - Parameters:
    ///   - weights: of the heads' losses, 1 where none is given
    ///   - recomputesLayers: whether only the layers' inputs stay in memory until the gradient is computed
    package init(
        _ tower: Tower, heads: [LabelHead], weights: [String: Double] = [:], recomputesLayers: Bool = false
    ) {
        (self.tower, self.heads, self.recomputesLayers) = (tower, heads, recomputesLayers)
        parts = heads.map { LossPart($0.name, weight: weights[$0.name] ?? 1) }
    }

    package func terms(of example: TowerExample) -> [Int] {
        heads.map { head in
            switch head.kind {
            case .rows: example.rowLabels[head.name]?.contains { $0 != CrossEntropy.ignored } ?? false ? 1 : 0
            case .sequence: example.sequences[head.name] == nil ? 0 : 1
            }
        }
    }

    /// - Throws: `LyraError.argument`, naming the head, for labels that do not exist or that do not fit the input.
    package func check(_ example: TowerExample) throws {
        guard terms(of: example).contains(where: { $0 > 0 }) else {
            let names = heads.map { shown($0.name) }.joined(separator: ", ")
            throw LyraError(
                .argument,
                "\(example.origin): there is no label for any head: neither \"row_labels\" nor \"sequence_labels\" has "
                    + "labels for \(names); add them")
        }
        let rows = try rowCount(example.input)
        for head in heads {
            let labels = (head.kind == .rows ? example.rowLabels : example.sequences)[head.name] ?? []
            let isIgnored = { head.kind == .rows && $0 == CrossEntropy.ignored }
            if let wrong = labels.first(where: { !isIgnored($0) && !(0..<Int32(head.labels)).contains($0) }) {
                throw LyraError(
                    .argument,
                    "\(example.origin): label \(wrong) of \(shown(head.name)) is not 0 to \(head.labels - 1)")
            }
            let needed = head.kind == .rows ? labels.count : CTCLoss.framesNeeded(by: labels)
            guard needed <= rows else {
                throw LyraError(
                    .argument,
                    "\(example.origin): \(shown(head.name)) needs \(needed) rows, but the tower makes \(rows)")
            }
        }
    }

    package func differentiate(
        _ examples: [TowerExample], totals: [Int], seed: UInt64, observer: (any GradientObserver)?
    ) throws -> [Double] {
        var sums = parts.map { _ in 0.0 }
        try forEachPass(examples) { pass, rows, isLast in
            var roots: [(result: Tensor, gradient: Tensor)] = []
            for (index, head) in heads.enumerated() {
                let scale = parts[index].weight / Double(max(totals[index], 1))
                let logits = try head.logits(rows)
                let losses = try losses(head, pass, logits.detached, scale: scale)
                guard losses.contains(where: { $0 != nil }) else { continue }
                let gradients = try zip(losses, pass.rows).map { loss, rows in
                    try loss?.gradient ?? Tensor(zeros: [rows.count, logits.columns])
                }
                sums[index] += losses.reduce(0) { $0 + ($1?.value ?? 0) }
                roots.append((logits, try .stacking(gradients)))
            }
            try backpropagate(roots, observer: isLast ? observer : nil)
        }
        return sums
    }

    package func evaluate(_ examples: [TowerExample]) throws -> [Double] {
        try Recording.paused {
            var sums = parts.map { _ in 0.0 }
            try forEachPass(examples) { pass, rows, _ in
                for (index, head) in heads.enumerated() {
                    let losses = try losses(head, pass, head.logits(rows).detached, scale: 1)
                    sums[index] += losses.reduce(0) { $0 + ($1?.value ?? 0) }
                }
            }
            return sums
        }
    }

    // MARK: Passes

    /// Examples whose inputs go through the tower together.
    private struct Pass: Sendable {
        /// In the order of the rows.
        var examples: [TowerExample]
        /// Each example's rows of the tower's output.
        var rows: [Range<Int>]
    }

    /// Values of a pass in each layer's output. Small inputs are computed together, because products of few rows do not
    /// keep the processor busy; large ones one by one, because of the memory.
    private static let valuesPerPass = 1 << 18

    private func forEachPass(
        _ examples: [TowerExample], _ body: (_ pass: Pass, _ rows: Tensor, _ isLast: Bool) throws -> Void
    ) throws {
        let passes = try passes(examples)
        for (number, pass) in passes.enumerated() {
            try Interruption.check()
            try body(pass, encode(pass.examples.map(\.input)), number == passes.count - 1)
        }
    }

    private func passes(_ examples: [TowerExample]) throws -> [Pass] {
        var passes: [Pass] = [], size = [0, 0], values = 0
        for example in examples {
            let rows = try rowCount(example.input), added = rows.saturatingMultiplying(by: tower.innerValues)
            let own = pictureSize(example.input)
            if passes.isEmpty || own != size || values.saturatingAdding(added) > Self.valuesPerPass {
                passes.append(Pass(examples: [], rows: []))
                (size, values) = (own, 0)
            }
            let last = passes.count - 1, start = passes[last].rows.last?.upperBound ?? 0
            passes[last].examples.append(example)
            passes[last].rows.append(start..<start + rows)
            values += added
        }
        return passes
    }

    /// Inputs of one size can share a pass.
    private func pictureSize(_ input: TowerExample.Input) -> [Int] {
        switch input {
        case .speech: [0, 0]
        case .vision(let patches): [patches.grid.height, patches.grid.width]
        }
    }

    // MARK: Losses

    private typealias Loss = (value: Double, gradient: Tensor)

    /// The losses of a pass; nil for an example without labels for the head. The losses are computed side by side,
    /// because each uses one thread.
    private func losses(_ head: LabelHead, _ pass: Pass, _ logits: Tensor, scale: Double) throws -> [Loss?] {
        try concurrentMap(pass.examples.count) {
            try loss(head, pass.examples[$0], logits.rows(pass.rows[$0]), scale: scale)
        }
    }

    /// The loss of a head; nil if the example has no labels for it.
    private func loss(
        _ head: LabelHead, _ example: TowerExample, _ logits: consuming Tensor, scale: Double
    ) throws -> Loss? {
        switch head.kind {
        case .rows:
            guard let labels = example.rowLabels[head.name] else { return nil }
            let missing = max(0, logits.rows - labels.count)
            let all = labels + Array(repeating: CrossEntropy.ignored, count: missing)
            let result = try FramewiseCrossEntropy.of(logits, labels: all, gradientScale: scale)
            return result.loss.map { ($0, result.gradient) }
        case .sequence:
            guard let labels = example.sequences[head.name] else { return nil }
            switch try ctc(logits, targets: labels, gradientScale: scale) {
            case .loss(let value, let gradient): return (value, gradient)
            case .tooFewFrames(let needed, let present):
                throw LyraError(
                    .argument, "\(example.origin): \(shown(head.name)) needs \(needed) rows; there are \(present)")
            }
        }
    }

    /// [rows of all inputs, width of the output]
    private func encode(_ inputs: [TowerExample.Input]) throws -> Tensor {
        let mismatch = LyraError(
            .argument, "an image cannot train a speech tower, nor speech a vision tower")
        switch tower {
        case .speech(let encoder):
            let mels = try inputs.map { input in
                guard case .speech(let mel) = input else { throw mismatch }
                return mel
            }
            return try encoder(mels: mels, recomputesLayers: recomputesLayers)
        case .vision(let encoder):
            let grids = try inputs.map { input in
                guard case .vision(let patches) = input else { throw mismatch }
                return patches
            }
            guard let first = grids.first else { throw mismatch }
            let pairs = grids.reduce(0) { $0 + $1.grid.time }
            return try encoder(
                allRowsOf: grids.count == 1 ? first.patches : .stacking(grids.map(\.patches)),
                grid: (pairs, first.grid.height, first.grid.width), recomputesLayers: recomputesLayers)
        }
    }

    /// Rows that the tower makes of an example; 0 if it is not for this tower.
    func rows(of example: TowerExample) -> Int { (try? rowCount(example.input)) ?? 0 }

    private func rowCount(_ input: TowerExample.Input) throws -> Int {
        switch (tower, input) {
        case (.speech(let encoder), _): return encoder.configuration.positions
        case (.vision(let encoder), .vision(let patches)):
            return patches.patches.rows / (encoder.configuration.merge * encoder.configuration.merge)
        case (.vision, .speech): throw LyraError(.argument, "speech cannot train a vision tower")
        }
    }
}

extension TowerObjective: RightCounting {
    package var accuracies: [String] { heads.map { "accuracy_" + $0.name } }

    /// Of rows with a label those whose likeliest label it is; of sequences those that CTC's greedy path spells.
    package func countRight(_ examples: [TowerExample]) throws -> [LossSum] {
        var sums = heads.map { _ in LossSum() }
        try Recording.paused {
            try forEachPass(examples) { pass, rows, _ in
                for (index, head) in heads.enumerated() {
                    let likeliest = try head.logits(rows).indicesOfLargest().map { Int32(clamping: $0) }
                    for (example, rows) in zip(pass.examples, pass.rows) {
                        sums[index] += right(head, example, likeliest[rows])
                    }
                }
            }
        }
        return sums
    }

    private func right(_ head: LabelHead, _ example: TowerExample, _ likeliest: ArraySlice<Int32>) -> LossSum {
        switch head.kind {
        case .rows:
            let pairs = zip(example.rowLabels[head.name] ?? [], likeliest).filter { $0.0 != CrossEntropy.ignored }
            return LossSum(sum: Double(pairs.count { $0.0 == $0.1 }), count: pairs.count)
        case .sequence:
            guard let labels = example.sequences[head.name] else { return LossSum() }
            let spelled = CTCLoss.collapsed(Array(likeliest)).filter { Int($0) != head.labels }
            return LossSum(sum: spelled == labels ? 1 : 0, count: 1)
        }
    }
}
