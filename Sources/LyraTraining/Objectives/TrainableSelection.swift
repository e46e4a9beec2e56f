import LyraBase
import LyraModel

/// The parameters that a run trains, by names of parts or by patterns over the published names of tensors.
///
/// Only what the run uses can be chosen: of the adapters the one that is trained with, and of the speech projectors the
/// one that belongs to it.
package final class TrainableSelection: ParameterChoice {
    /// A part, or a pattern.
    private enum Name {
        case part(Part)
        /// In which * stands for any characters.
        case pattern(String)
    }

    private enum Part: String, CaseIterable {
        case projector
        case adapter
        case speechGenerator = "speech_generator"
        case speechTower = "speech_tower"
        case visionTower = "vision_tower"
        case embeddings
        case languageModel = "language_model"
        case vocoder
        case all
    }

    /// The names of parts.
    package static let partNames = Part.allCases.map(\.rawValue)

    private let names: [String]
    private let groups: [[String]]
    private let adapterName: String?
    private let usesVocoder: Bool
    private let isInfluential: (ModelPart, String) -> Bool
    /// The index of the adapter that is trained with; nil for none. Known once the checkpoint is opened.
    package private(set) var adapter: Int?
    private var adapterHasProjector = false
    private var origin = ""
    /// Published names of the parameters that the run can train, in the order of the networks.
    private var used: [String] = []
    /// The parts with a parameter that the run can train, and those with one on which its loss does not depend.
    private var (present, idle): (Set<Part>, Set<Part>) = ([], [])
    /// The names of the selection, and of the groups, to which a parameter belongs.
    private var matched: Set<String> = []

    /// - Parameters:
    ///   - names: parts (`partNames`) or patterns; a parameter is trained if one of them matches. `language_model`
    ///     includes the embeddings; `all` is everything on which a text answer depends: the language model, the
    ///     projector, the towers, and the adapter if there is one
    ///   - adapter: the name of the adapter that is used, trained or not; nil for none
    ///   - groups: the names of each group of the optimizer after the first, which has all other parameters
    ///   - usesVocoder: whether the run makes waveforms, so that the vocoder can be trained
    ///   - isInfluential: whether the loss depends on a parameter, by its part and name there; others are not proposed
    /// - Throws: `LyraError.argument` if there is no name.
    package init(
        _ names: [String], adapter: String?, groups: [[String]] = [], usesVocoder: Bool = false,
        isInfluential: @escaping (ModelPart, String) -> Bool = { _, _ in true }
    ) throws {
        guard !names.isEmpty else {
            throw LyraError(
                .argument,
                "nothing to train: name parts (\(Self.partNames.joined(separator: ", "))) or tensors, with * for any "
                    + "characters")
        }
        (self.names, self.groups, adapterName, self.usesVocoder) = (names, groups, adapter, usesVocoder)
        self.isInfluential = isInfluential
    }

    /// The group of a parameter: 0, or 1 + the index of the first of `groups` that has it.
    package func group(of element: TrainableParameters.Element) -> Int {
        let index = groups.firstIndex { $0.contains { matches($0, element.part, element.name) } }
        return index.map { $0 + 1 } ?? 0
    }

    // MARK: ParameterChoice

    package func begin(adapters: [(name: String, hasProjector: Bool)], origin: String) throws {
        self.origin = origin
        guard let adapterName else { return }
        let wanted = Array(adapterName.utf8)
        guard
            let index = adapters.firstIndex(where: {
                $0.name.utf8.elementsEqual(wanted) || ($0.name + "_lora").utf8.elementsEqual(wanted)
            })
        else {
            let present = adapters.isEmpty ? "none" : adapters.map { shown($0.name) }.joined(separator: ", ")
            throw LyraError(.argument, "\(origin): there is no adapter \(shown(adapterName)); the model has \(present)")
        }
        (adapter, adapterHasProjector) = (index, adapters[index].hasProjector)
    }

    package func isChosen(_ part: ModelPart, _ name: String) -> Bool {
        guard isUsed(part, name) else { return false }
        let parts = Part.allCases.filter { has($0, part, name) }
        if isInfluential(part, name) {
            used.append(Self.publishedName(part, name))
            present.formUnion(parts)
        } else {
            idle.formUnion(parts)
        }
        let found = names.filter { matches($0, part, name) }
        guard !found.isEmpty else { return false }
        matched.formUnion(found)
        for group in groups { matched.formUnion(group.filter { matches($0, part, name) }) }
        return true
    }

    package func finish() throws {
        if let unknown = names.first(where: { !matched.contains($0) }) {
            let part = Part(rawValue: unknown)
            throw LyraError(
                .argument,
                "\(origin): \(shown(unknown)) should be trained, but "
                    + (part.map { absence(of: $0) } ?? "no tensor that the run can train has this name") + "; "
                    + (part == nil ? "there are \(choices)" : "the parts that can be trained here are \(presentParts)"))
        }
        if let unknown = groups.joined().first(where: { !matched.contains($0) }) {
            throw LyraError(
                .argument, "\(origin): the group of \(shown(unknown)) is empty: nothing that is trained has this name")
        }
    }

    // MARK: Matching

    private func isUsed(_ part: ModelPart, _ name: String) -> Bool {
        switch part {
        case .main: !adapterHasProjector || !name.hasPrefix(Self.projectorPrefix)
        case .adapter(let index), .adapterProjector(let index): index == adapter
        case .speechTower, .visionTower: true
        case .vocoder: usesVocoder
        case .soundTower, .soundProjector: false
        }
    }

    private func matches(_ text: String, _ part: ModelPart, _ name: String) -> Bool {
        guard let known = Part(rawValue: text) else { return Self.glob(text, Self.publishedName(part, name)) }
        return isUsed(part, name) && has(known, part, name)
    }

    private func has(_ known: Part, _ part: ModelPart, _ name: String) -> Bool {
        let isMain = part == .main, isEmbedding = isMain && name == "model.embed_tokens.weight"
        switch known {
        case .projector:
            if case .adapterProjector = part { return true }
            return isMain && name.hasPrefix(Self.projectorPrefix)
        case .adapter: if case .adapter = part { return true } else { return false }
        case .speechGenerator: return isMain && name.hasPrefix("speech_generator.")
        case .speechTower: return part == .speechTower
        case .visionTower: return part == .visionTower
        case .vocoder: return part == .vocoder
        case .embeddings: return isEmbedding
        case .languageModel:
            return isEmbedding
                || isMain && ["model.layers.", "model.norm.", "lm_head."].contains(where: name.hasPrefix)
        case .all:
            let all: [Part] = [.languageModel, .projector, .speechTower, .visionTower, .adapter]
            return all.contains { has($0, part, name) }
        }
    }

    private static let projectorPrefix = "model.mm_speech_projector."

    /// The name that the published layout gives a tensor when all parts lie together.
    private static func publishedName(_ part: ModelPart, _ name: String) -> String {
        switch part {
        case .adapterProjector: projectorPrefix + name
        case .speechTower: "model.speech_tower.speech_tower." + name
        case .visionTower: ParameterNames.vision + name
        case .vocoder: "vocoder." + name
        case .main, .adapter, .soundTower, .soundProjector: name
        }
    }

    /// Whether `text` is `pattern`, in which * stands for any characters.
    static func glob(_ pattern: String, _ text: String) -> Bool {
        let pattern = Array(pattern.utf8), text = Array(text.utf8), star = UInt8(ascii: "*")
        var (p, t) = (0, 0)
        // Where to continue if a comparison fails: after the last *, which then takes one character more.
        var retry: (p: Int, t: Int)?
        while t < text.count {
            if p < pattern.count, pattern[p] == star {
                p += 1
                retry = (p, t)
            } else if p < pattern.count, pattern[p] == text[t] {
                (p, t) = (p + 1, t + 1)
            } else if let last = retry {
                (p, t) = (last.p, last.t + 1)
                retry = (p, t)
            } else {
                return false
            }
        }
        return pattern[p...].allSatisfy { $0 == star }
    }

    /// Why the run cannot train a part.
    private func absence(of part: Part) -> String {
        switch part {
        case .adapter where adapterName == nil: "the run has no adapter (adapter.name)"
        case .vocoder where !usesVocoder: "only objective vocoder trains the vocoder"
        case .speechTower, .visionTower, .vocoder:
            "the checkpoint has no such part; if its towers are in another directory, name that (towers)"
        default: "the checkpoint has no such part"
        }
    }

    private var presentParts: String {
        Part.allCases.filter(present.subtracting(idle).contains).map(\.rawValue).joined(separator: ", ")
    }

    /// The parts, and the tensors of this checkpoint with * for the numbers of layers, for a message.
    private var choices: String {
        var seen: Set<String> = []
        let tensors = used.map { name in
            name.split(separator: ".").map { Int($0) == nil ? String($0) : "*" }.joined(separator: ".")
        }.filter { seen.insert($0).inserted }
        let limit = 60
        let more = tensors.count > limit ? " and \(tensors.count - limit) more" : ""
        return ([presentParts] + tensors.prefix(limit)).joined(separator: ", ") + more
    }
}
