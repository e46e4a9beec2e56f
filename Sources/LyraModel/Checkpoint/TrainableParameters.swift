import LyraBase
import LyraTensor

/// Which parameters of a checkpoint training changes.
package protocol ParameterChoice: AnyObject {
    /// Called before the networks are built, with the checkpoint's adapters in index order.
    ///
    /// - Parameter origin: the checkpoint, for messages
    /// - Throws: `LyraError` if the choice does not fit the checkpoint.
    func begin(adapters: [(name: String, hasProjector: Bool)], origin: String) throws

    /// Called for each parameter of the networks.
    ///
    /// - Parameter name: within the part, as the published layout has it
    func isChosen(_ part: ModelPart, _ name: String) -> Bool

    /// Called when all networks are built.
    ///
    /// - Throws: `LyraError` if the choice does not fit the checkpoint.
    func finish() throws
}

/// Chooses the parameters of a checkpoint that training changes, and collects them while the networks are built.
///
/// A chosen tensor is copied to floats; all other weights stay as their file stores them.
package final class TrainableParameters {
    package struct Element {
        package let part: ModelPart
        /// Name within the part, as the published layout has it.
        package let name: String
        package let parameter: TrainableParameter
    }

    private let choice: any ParameterChoice
    package private(set) var elements: [Element] = []

    package init(_ choice: any ParameterChoice) { self.choice = choice }

    package convenience init(where isChosen: @escaping (_ part: ModelPart, _ name: String) -> Bool) {
        self.init(ChoiceByName(isChosen))
    }

    /// Whether training changes a parameter of the part.
    package func contain(_ part: ModelPart) -> Bool { elements.contains { $0.part == part } }

    func begin(adapters: [(name: String, hasProjector: Bool)], origin: String) throws {
        try choice.begin(adapters: adapters, origin: origin)
    }

    func finish() throws { try choice.finish() }

    /// The parameter called `name`, if training changes it. A tensor that two networks share is one parameter.
    fileprivate func parameter(_ part: ModelPart, _ name: String, _ stored: () throws -> Tensor) throws
        -> TrainableParameter?
    {
        if let known = elements.first(where: { $0.part == part && $0.name == name }) { return known.parameter }
        guard choice.isChosen(part, name) else { return nil }
        let parameter = try TrainableParameter(name, stored())
        elements.append(Element(part: part, name: name, parameter: parameter))
        return parameter
    }
}

/// A choice that any checkpoint fits.
private final class ChoiceByName: ParameterChoice {
    private let choose: (_ part: ModelPart, _ name: String) -> Bool

    init(_ choose: @escaping (_ part: ModelPart, _ name: String) -> Bool) { self.choose = choose }

    func begin(adapters: [(name: String, hasProjector: Bool)], origin: String) {}
    func isChosen(_ part: ModelPart, _ name: String) -> Bool { choose(part, name) }
    func finish() {}
}

/// A source of weights, some of which training changes.
package struct TrainableSource: WeightSource {
    private let base: any WeightSource
    private let part: ModelPart
    private let trainables: TrainableParameters

    package init(base: any WeightSource, part: ModelPart, trainables: TrainableParameters) {
        (self.base, self.part, self.trainables) = (base, part, trainables)
    }

    package var origin: String { base.origin }
    package var precision: Precision { base.precision }
    package func contains(_ name: String) -> Bool { base.contains(name) }
    package func tensor(_ name: String, _ shape: [Int]) throws -> StoredTensor { try base.tensor(name, shape) }

    package func weight(_ name: String, _ shape: [Int]) throws -> Weight {
        try trainables.parameter(part, name) { try base.floats(name, shape) }?.weight(for: precision)
            ?? base.weight(name, shape)
    }

    package func floats(_ name: String, _ shape: [Int]) throws -> Tensor {
        try trained(name, shape) ?? base.floats(name, shape)
    }

    package func trained(_ name: String, _ shape: [Int]) throws -> Tensor? {
        try trainables.parameter(part, name) { try base.floats(name, shape) }?.tensor
    }
}
