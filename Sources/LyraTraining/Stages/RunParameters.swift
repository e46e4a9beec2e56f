import LyraBase
import LyraModel
import LyraTensor

/// The trained parameters of a run, with names of their own, and the settings of their groups.
struct RunParameters {
    let trained: [TrainedParameter]
    let groups: [Optimizer.Group]

    /// The groups of the optimizer that a group of the recipe becomes.
    enum Kind: Int, CaseIterable {
        /// Matrices of the layers.
        case matrix
        /// Tables with a row for each token, unit or position, heads over classes, and the weights of convolutions.
        case table
        /// Norms and biases, which do not decay.
        case vector

        init(_ name: String, _ shape: [Int]) {
            let isTable =
                shape.count > 2
                || [
                    "embed_tokens.weight", "lm_head.weight", "embed_positions.weight",
                    "speech_generator.output_proj.weight", "dict.weight",
                ].contains(where: name.hasSuffix)
            self = shape.count < 2 ? .vector : isTable ? .table : .matrix
        }
    }

    /// Each group of the recipe becomes one of the optimizer for each `Kind`.
    ///
    /// - Parameter heads: what a tower's run trains beside the checkpoint, in the first group
    init(
        _ trainables: TrainableParameters, _ selection: TrainableSelection, _ recipe: TrainingRecipe,
        heads: [LabelHead] = []
    ) {
        let optimizer = recipe.optimizer
        groups = ([TrainingRecipe.Group()] + recipe.groups).flatMap { group in
            Kind.allCases.map { kind in
                let isMuon = optimizer.method == .muon && kind == .matrix
                return Optimizer.Group(
                    isMuon ? .muon : .adamW, learningRate: group.learningRate ?? optimizer.learningRate,
                    weightDecay: kind == .vector ? 0 : group.weightDecay ?? optimizer.weightDecay,
                    beta1: isMuon ? optimizer.momentum : optimizer.beta1, beta2: optimizer.beta2,
                    epsilon: optimizer.epsilon)
            }
        }
        let parts = GradientExchange.forwardOrder(trainables.elements).map { element in
            let kind = Kind(element.name, element.parameter.shape)
            return TrainedParameter(
                Self.prefix(element.part) + element.name, element.parameter,
                group: selection.group(of: element) * Kind.allCases.count + kind.rawValue)
        }
        // The heads are the end of the forward pass.
        trained =
            parts
            + heads.flatMap { head in
                [
                    TrainedParameter(head.weight.name, head.weight, group: Kind.table.rawValue),
                    TrainedParameter(head.bias.name, head.bias, group: Kind.vector.rawValue),
                ]
            }
    }

    /// Of parameters that have had no gradient, those for which the examples are the reason.
    ///
    /// The B of a fresh adapter is 0, and as long as it is, its A has no gradient. If B has had one, then a short run
    /// is the reason.
    func lackingExamples(_ unreached: [TrainedParameter]) -> [TrainedParameter] {
        let reached = Set(trained.map(\.name)).subtracting(unreached.map(\.name))
        return unreached.filter { parameter in
            guard parameter.name.hasSuffix(Self.firstMatrix) else { return true }
            return !reached.contains(parameter.name.dropLast(Self.firstMatrix.count) + Self.secondMatrix)
        }
    }

    private static let (firstMatrix, secondMatrix) = (".lora_A.weight", ".lora_B.weight")

    /// Keeps names of different parts apart.
    private static func prefix(_ part: ModelPart) -> String {
        switch part {
        case .main, .adapter: ""
        case .adapterProjector: "projector."
        case .speechTower: "speech_tower."
        case .visionTower: "vision_tower."
        case .soundTower: "sound_tower."
        case .soundProjector: "sound_projector."
        case .vocoder: "vocoder."
        }
    }
}
