import LyraBase
import LyraTraining

/// What `--dry-run-gradients` prints.
struct GradientDryRun: Encodable {
    /// Names and numbers in the order in which they are written.
    struct Norms: Encodable {
        struct Name: CodingKey {
            let stringValue: String
            var intValue: Int? { nil }
            init(stringValue: String) { self.stringValue = stringValue }
            init?(intValue: Int) { nil }
        }

        let all: [(name: String, norm: Double)]

        func encode(to encoder: any Encoder) throws {
            var container = encoder.container(keyedBy: Name.self)
            for (name, norm) in all { try container.encode(norm, forKey: Name(stringValue: name)) }
        }
    }

    let cross_entropy: Double
    let lcmr: Double
    let total: Double
    /// The Euclidean norm of each gradient, sorted by name.
    let gradients: Norms

    /// - Throws: `LyraError.format`, naming the case, if a number is not finite.
    init(_ report: GradientReport, of path: String) throws {
        (cross_entropy, lcmr, total) = (report.crossEntropy, report.regularizer, report.total)
        gradients = Norms(
            all: try report.gradients.sorted { $0.key < $1.key }.map { ($0.key, try GradientClipping.norm([$0.value])) }
        )
        let numbers = [("the cross-entropy", cross_entropy), ("LCMR", lcmr)] + gradients.all.map { ($0.name, $0.norm) }
        if let (name, value) = numbers.first(where: { !$0.1.isFinite }) {
            throw LyraError(.format, "\(path): with this checkpoint, \(name) is \(value)")
        }
    }
}
