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
    }

    package let tower: Tower
    package let heads: [LabelHead]
    package let parts: [LossPart]
    private let ctc = CTCLoss(collapsesTargets: false)

    /// - Parameter weights: of the heads' losses, 1 where none is given
    package init(_ tower: Tower, heads: [LabelHead], weights: [String: Double] = [:]) {
        (self.tower, self.heads) = (tower, heads)
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
            throw LyraError(.argument, "\(example.origin): there is no label for any head")
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
        for (number, example) in examples.enumerated() {
            try Interruption.check()
            let rows = try encode(example.input)
            var roots: [(result: Tensor, gradient: Tensor)] = []
            for (index, head) in heads.enumerated() {
                let scale = parts[index].weight / Double(max(totals[index], 1))
                let logits = try head.logits(rows)
                guard let loss = try loss(head, example, logits.detached, scale: scale) else { continue }
                sums[index] += loss.value
                roots.append((logits, loss.gradient))
            }
            try backpropagate(roots, observer: number == examples.count - 1 ? observer : nil)
        }
        return sums
    }

    package func evaluate(_ examples: [TowerExample]) throws -> [Double] {
        try Recording.paused {
            var sums = parts.map { _ in 0.0 }
            for example in examples {
                let rows = try encode(example.input)
                for (index, head) in heads.enumerated() {
                    sums[index] += try loss(head, example, head.logits(rows), scale: 1)?.value ?? 0
                }
            }
            return sums
        }
    }

    /// The loss of a head; nil if the example has no labels for it.
    private func loss(
        _ head: LabelHead, _ example: TowerExample, _ logits: consuming Tensor, scale: Double
    ) throws -> (value: Double, gradient: Tensor)? {
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

    /// [rows, width of the output]
    private func encode(_ input: TowerExample.Input) throws -> Tensor {
        switch (tower, input) {
        case (.speech(let encoder), .speech(let mel)): return try encoder(mel: mel)
        case (.vision(let encoder), .vision(let patches)):
            return try encoder(patches: patches.patches, grid: patches.grid)
        case (.speech, .vision), (.vision, .speech):
            throw LyraError(.argument, "an image cannot train a speech tower, nor speech a vision tower")
        }
    }

    private func rowCount(_ input: TowerExample.Input) throws -> Int {
        switch (tower, input) {
        case (.speech(let encoder), _): return encoder.configuration.positions
        case (.vision(let encoder), .vision(let patches)):
            return patches.patches.rows / (encoder.configuration.merge * encoder.configuration.merge)
        case (.vision, .speech): throw LyraError(.argument, "speech cannot train a vision tower")
        }
    }
}
