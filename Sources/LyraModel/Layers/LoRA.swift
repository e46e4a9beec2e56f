import LyraBase
import LyraTensor

/// An adapter's tensors, under PEFT's names for the Lyra release, which are taken one after the other.
private struct AdapterTensors {
    let table: TensorTable
    /// The source of the same tensors, some of which training may change.
    let weights: any WeightSource
    let configuration: AdapterConfiguration
    private(set) var unused: Set<String>

    init(_ table: TensorTable, _ weights: any WeightSource, _ configuration: AdapterConfiguration) {
        self.table = table
        self.weights = weights
        self.configuration = configuration
        unused = Set(table.names)
    }

    /// The update of a matrix; nil if the adapter has none.
    ///
    /// - Parameter module: the matrix's name: `model.layers.0.self_attn.q_proj`
    mutating func update(_ module: String, of weight: Weight) throws -> LowRankUpdate? {
        let (a, b) = ("lora_A.weight", "lora_B.weight")
        let name = ParameterNames.peft + module + "."
        guard table.contains(name + a) || table.contains(name + b) else { return nil }
        unused.subtract([name + a, name + b])
        let rank = configuration.rank(of: module)
        return LowRankUpdate(
            a: try weights.weight(name + a, [rank, weight.inputs]),
            b: try weights.weight(name + b, [weight.outputs, rank]), scale: configuration.scale(of: module))
    }

    /// A matrix that takes the place of the decoder's; nil if the adapter has none.
    mutating func replacement(_ module: String, of weight: Weight) throws -> Weight? {
        let name = ParameterNames.peft + module + ".weight"
        return try take(name) ? weights.weight(name, [weight.outputs, weight.inputs]) : nil
    }

    /// A norm that takes the place of the decoder's; nil if the adapter has none.
    mutating func replacement(_ module: String, of norm: RMSNorm) throws -> RMSNorm? {
        let name = ParameterNames.peft + module
        return try take(name + ".weight") ? RMSNorm(weights, name, norm.weight.count, epsilon: norm.epsilon) : nil
    }

    /// Whether the adapter replaces a tensor: it holds the tensor, and its configuration names the tensor's module.
    ///
    /// - Throws: `LyraError` if only one of the two is so.
    private mutating func take(_ name: String) throws -> Bool {
        switch (table.contains(name), configuration.replaces(name)) {
        case (false, false): return false
        case (true, true):
            unused.remove(name)
            return true
        case (true, false):
            throw LyraError(
                .format,
                "\(table.origin): the adapter holds the whole tensor \(shown(name)), but modules_to_save does not "
                    + "name its module")
        case (false, true):
            throw LyraError(
                .missing, "\(table.origin): modules_to_save names the module of \(shown(name)), which is not there")
        }
    }

    /// - Throws: `LyraError` that names a tensor or an entry of `modules_to_save` without effect on this decoder.
    func checkUse(layers: Int) throws {
        guard let name = unused.min() else {
            guard !table.names.isEmpty else {
                throw LyraError(.format, "\(table.origin): the adapter has no tensors")
            }
            return
        }
        // As the file names it.
        let tensor = shown(table.tensors[name]?.name ?? name)
        if name.contains("lora_magnitude_vector") {
            throw LyraError(
                .unsupported, "\(table.origin): tensor \(tensor) belongs to DoRA, which is not supported")
        }
        if configuration.replaces(name), !name.contains(".lora_") {
            throw LyraError(
                .unsupported,
                "\(table.origin): modules_to_save replaces \(tensor); lyra replaces the decoder's embed_tokens, lm_head "
                    + "and norms, and mm_speech_projector")
        }
        throw LyraError(
            .format,
            "\(table.origin): \(unused.count) of \(table.names.count) tensors do not fit this model of \(layers) "
                + "layers, among them \(tensor); the adapter was made for another model")
    }
}

extension Decoder {
    /// Adds an adapter; its index is the number of adapters added before.
    ///
    /// - Parameters:
    ///   - table: PEFT's names: `base_model.model.<module>.lora_A.weight` for updates,
    ///     `base_model.model.<module>.weight` for what the adapter replaces as a whole
    ///   - weights: the source of the same tensors, some of which training may change
    /// - Throws: `LyraError.format` if the adapter was made for another model: a tensor does not fit, or this decoder
    ///   has no such module; `.unsupported`, by name, if it replaces a module that lyra does not replace.
    mutating func addAdapter(
        _ table: TensorTable, _ weights: any WeightSource, _ configuration: AdapterConfiguration
    ) throws {
        var tensors = AdapterTensors(table, weights, configuration)
        let index = self.embeddings.adapterCount
        for layer in layers.indices {
            let prefix = "model.layers.\(layer)."
            for (module, path) in DecoderLayer.adaptable {
                let update = try tensors.update(prefix + module, of: layers[layer][keyPath: path].weight)
                layers[layer][keyPath: path].adapters.append(update)
            }
            for (module, path) in DecoderLayer.norms {
                let norm = layers[layer][keyPath: path].base
                layers[layer][keyPath: path].append(try tensors.replacement(prefix + module, of: norm))
            }
        }
        let embeddings = try tensors.replacement("model.embed_tokens", of: self.embeddings.base)
        let head = try tensors.replacement("lm_head", of: self.head.base)
        let followsEmbeddings = self.configuration.tiesEmbeddings && configuration.keepsHeadTied
        self.embeddings.append(embeddings)
        // PEFT unties a replaced embedding from the head unless it is told otherwise.
        if head == nil, followsEmbeddings, embeddings != nil { adaptersWithTiedHead.insert(index) }
        self.head.append(head ?? (followsEmbeddings ? embeddings : nil))
        finalNorm.append(try tensors.replacement("model.norm", of: finalNorm.base))
        try tensors.checkUse(layers: layers.count)
    }

    /// A copy whose adapter drops elements of what its updates take, for training; weights are shared.
    ///
    /// - Parameter share: of the elements, 0 ..< 1
    /// - Returns: the copy, and the dropout of each update in a fixed order. The caller seeds each before each step.
    /// - Throws: `LyraError.argument` for a share out of range.
    package func droppingOut(_ share: Double, adapter: Int) throws -> (decoder: Decoder, dropouts: [Dropout]) {
        var copy = self
        var dropouts: [Dropout] = []
        for layer in layers.indices {
            for (_, path) in DecoderLayer.adaptable {
                let updates = layers[layer][keyPath: path].adapters
                guard updates.indices.contains(adapter), let update = updates[adapter] else { continue }
                let dropout = try Dropout(share: Float(share))
                copy.layers[layer][keyPath: path].adapters[adapter] = LowRankUpdate(
                    a: update.a, b: update.b, scale: update.scale, dropout: dropout)
                dropouts.append(dropout)
            }
        }
        return (copy, dropouts)
    }

    /// The matrices that an adapter updates, each with the factor of B·A.
    ///
    /// - Returns: modules in the published layout, `model.layers.0.self_attn.q_proj`; none if there is no such adapter
    package func updates(of adapter: Int) -> [(module: String, scale: Float)] {
        layers.enumerated().flatMap { number, layer in
            DecoderLayer.adaptable.compactMap { name, path in
                let updates = layer[keyPath: path].adapters
                guard updates.indices.contains(adapter), let update = updates[adapter] else { return nil }
                return ("model.layers.\(number).\(name)", update.scale)
            }
        }
    }

    /// Whether an adapter's embeddings are its output head too.
    package func tiesHead(of adapter: Int) -> Bool { adaptersWithTiedHead.contains(adapter) }

    /// The parameters of an adapter, under PEFT's names. None if there is no adapter with this index.
    func adapterParameters(_ index: Int) -> [Parameter] {
        let prefix = ParameterNames.peft
        var parameters: [Parameter] = []
        for (number, layer) in layers.enumerated() {
            let module = prefix + "model.layers.\(number)."
            for (name, path) in DecoderLayer.adaptable {
                let updates = layer[keyPath: path].adapters
                guard updates.indices.contains(index), let update = updates[index] else { continue }
                parameters.append(Parameter(module + name + ".lora_A.weight", update.a))
                parameters.append(Parameter(module + name + ".lora_B.weight", update.b))
            }
            for (name, path) in DecoderLayer.norms {
                parameters += layer[keyPath: path].replacement(of: index)?.parameters(under: module + name) ?? []
            }
        }
        if let embeddings = embeddings.replacement(of: index) {
            parameters.append(Parameter(prefix + "model.embed_tokens.weight", embeddings))
        }
        parameters += finalNorm.replacement(of: index)?.parameters(under: prefix + "model.norm") ?? []
        if let head = head.replacement(of: index), !adaptersWithTiedHead.contains(index) {
            parameters.append(Parameter(prefix + "lm_head.weight", head))
        }
        return parameters
    }
}
