extension Checkpoint {
    /// All parameters of the parts that are present.
    ///
    /// Names are those of the published layout, without the prefix that some files put before all names of a tower or
    /// projector. Parts can lie in separate files, so a name is unique only within its part.
    package var parameters: [(part: ModelPart, parameters: [Parameter])] {
        var main = decoder.parameters
        var others: [(part: ModelPart, parameters: [Parameter])] = []
        for index in adapters.indices { others.append((.adapter(index), decoder.adapterParameters(index))) }
        if case .present(let speech) = speechNetworks {
            main += speech.projector.parameters(under: "model.mm_speech_projector")
            others.append((.speechTower, speech.encoder.parameters))
            for case (let index, let projector?) in speech.adapterProjectors.enumerated() {
                others.append((.adapterProjector(index), projector.parameters))
            }
        }
        if case .present(let vision) = visionNetworks { others.append((.visionTower, vision.encoder.parameters)) }
        if case .present(let sound) = soundNetworks {
            others.append((.soundTower, sound.encoder.parameters))
            others.append((.soundProjector, sound.projector.parameters))
        }
        if let generator { main += generator.parameters(under: "speech_generator") }
        if case .present(let vocoder) = vocoder { others.append((.vocoder, vocoder.parameters)) }
        return [(.main, main)] + others
    }
}
