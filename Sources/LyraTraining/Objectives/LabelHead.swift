import LyraBase
import LyraTensor

/// A linear layer over a tower's rows that predicts labels, so that a tower can be trained from nothing. It is needed
/// only in training.
package struct LabelHead: Sendable {
    package enum Kind: String, Sendable {
        /// A label for each row: framewise cross-entropy.
        case rows
        /// A sequence of labels for all rows: CTC, whose blank is one more class.
        case sequence
    }

    /// Which of an example's labels the head predicts.
    package let name: String
    package let kind: Kind
    /// Number of labels, the blank not counted.
    package let labels: Int
    package let weight: TrainableParameter
    package let bias: TrainableParameter

    static let labelLimit = 1 << 20

    /// A new head: weights uniform in ±1/√width, a bias of 0.
    ///
    /// - Throws: `LyraError.argument` for a number of labels out of range, `.memory` if there is no room.
    package init(_ name: String, _ kind: Kind, labels: Int, width: Int, random: inout SplitMix64) throws {
        guard (1...Self.labelLimit).contains(labels) else {
            throw LyraError(
                .argument, "head \(shown(name)): \(labels) labels; there can be 1 to \(Self.labelLimit)")
        }
        (self.name, self.kind, self.labels) = (name, kind, labels)
        let classes = kind == .sequence ? labels + 1 : labels
        let bound = 1 / Double(width).squareRoot()
        let initial = try Tensor(rows: classes, columns: width) { _, _ in
            Float(bound * (2 * random.nextUnit() - 1))
        }
        weight = try TrainableParameter("heads.\(name).weight", initial)
        bias = try TrainableParameter("heads.\(name).bias", Tensor(zeros: [classes]))
    }

    /// The tensors as a file has them.
    package var parameters: [TrainableParameter] { [weight, bias] }

    /// [rows, width] → [rows, classes]
    func logits(_ x: Tensor) throws -> Tensor { try weight.weight.product(x, bias: bias.tensor) }
}
