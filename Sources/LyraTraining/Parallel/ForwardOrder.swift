import LyraModel

extension GradientExchange {
    /// The parameters in about the order in which the forward pass uses them: encoders, projectors, the language model
    /// with its adapters layer by layer, the speech generator, the vocoder.
    package static func forwardOrder(_ elements: [TrainableParameters.Element]) -> [TrainableParameters.Element] {
        let placed = elements.enumerated().map { (place: place($1), index: $0, element: $1) }
        return placed.sorted { ($0.place.part, $0.place.layer, $0.index) < ($1.place.part, $1.place.layer, $1.index) }
            .map(\.element)
    }

    private static func place(_ element: TrainableParameters.Element) -> (part: Int, layer: Int) {
        let name = element.name
        let part =
            switch element.part {
            case .speechTower, .visionTower, .soundTower: 0
            case .adapterProjector, .soundProjector: 1
            case .main where name.hasPrefix("model.mm_"): 1
            case .main where name.hasPrefix("speech_generator"): 3
            case .main, .adapter: 2
            case .vocoder: 4
            }
        if let layer = name.split(separator: ".").lazy.compactMap({ Int($0) }).first { return (part, layer) }
        // Without a layer's number: what reads the input, or what makes the output.
        return (part, name.contains("norm") || name.contains("head") ? .max : -1)
    }
}
