import LyraBase
import LyraModel
import LyraTensor

/// The trained parameters of a run, with names of their own, and the settings of their groups.
struct RunParameters {
    let trained: [TrainedParameter]
    let groups: [AdamW.Group]

    /// Each group of the recipe becomes two of the optimizer: matrices, and vectors (norms, biases), which do not
    /// decay.
    ///
    /// - Parameter heads: what a tower's run trains beside the checkpoint, in the first group
    init(
        _ trainables: TrainableParameters, _ selection: TrainableSelection, _ recipe: TrainingRecipe,
        heads: [LabelHead] = []
    ) {
        let optimizer = recipe.optimizer
        groups = ([TrainingRecipe.Group()] + recipe.groups).flatMap { group in
            [group.weightDecay ?? optimizer.weightDecay, 0].map { decay in
                AdamW.Group(
                    learningRate: group.learningRate ?? optimizer.learningRate, weightDecay: decay,
                    beta1: optimizer.beta1, beta2: optimizer.beta2, epsilon: optimizer.epsilon)
            }
        }
        let parts = GradientExchange.forwardOrder(trainables.elements).map { element in
            let isVector = element.parameter.shape.count < 2
            return TrainedParameter(
                Self.prefix(element.part) + element.name, element.parameter,
                group: 2 * selection.group(of: element) + (isVector ? 1 : 0))
        }
        // The heads are the end of the forward pass.
        trained =
            parts
            + heads.flatMap { head in
                [
                    TrainedParameter(head.weight.name, head.weight, group: 0),
                    TrainedParameter(head.bias.name, head.bias, group: 1),
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
