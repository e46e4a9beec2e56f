/// What a run learns, as far as it decides which keys of a recipe are used.
enum RunKind: CaseIterable {
    /// Conversations: stages 1 to 3, and `pretrain` with the objective language.
    case language
    /// Conversations: stage 4.
    case generator
    case speechTower
    case visionTower
    case vocoder
}

extension TrainingRecipe {
    var kind: RunKind {
        switch objective {
        case .language: stage == .generator ? .generator : .language
        case .speechTower: .speechTower
        case .visionTower: .visionTower
        case .vocoder: .vocoder
        }
    }

    /// What decides the kind, as a message names it: an objective only if the recipe has one of its own.
    var kindName: String { objective == .language ? "stage \(stage.toml)" : "objective \(objective.toml)" }

    /// What is wrong with the first key that has another value than the default, but that the run does not use; nil if
    /// all are used.
    var unusedFault: String? {
        if !heads.isEmpty, ![.speechTower, .visionTower].contains(kind) {
            return "a [[head]] is set, which \(kindName) does not use; remove it"
        }
        let defaults = TrainingRecipe(stage: stage, objective: objective)
        let unused = RecipeField.all.first { field in
            !field.kinds.contains(kind) && field.access.written(self) != field.access.written(defaults)
        }
        return unused.map { "\($0.name) is set, which \(kindName) does not use; remove it" }
    }
}

extension RecipeField {
    /// The keys, and tables of keys, that only some kinds of runs use. All kinds use every other key.
    static var limitedUses: [(name: String, kinds: Set<RunKind>)] {
        let conversations: Set<RunKind> = [.language, .generator]
        return [
            ("speech_projector", conversations), ("system_prompt", conversations), ("generator", [.generator]),
            ("heads", [.speechTower, .visionTower]),
            ("adapter.name", conversations), ("adapter.start", conversations),
            ("adapter.needs_speech", [.generator]), ("adapter", [.language]),
            ("batch.longest", conversations.union([.vocoder])),
            ("loss.regularizer", [.language]), ("loss.temperature", [.language]), ("loss.gamma", [.language]),
            ("loss", [.vocoder]), ("augment", [.speechTower]), ("extractor", conversations),
            ("media.speech_seconds", conversations.union([.speechTower])), ("media.max_windows", conversations),
            ("media", conversations.union([.visionTower])),
            ("validation.exact_match", Set(RunKind.allCases).subtracting([.vocoder])),
        ]
    }

    /// The kinds of runs that use the key: by its own row of the table, or else by its table's.
    var kinds: Set<RunKind> {
        let uses = Self.limitedUses
        let use = uses.first { $0.name == name } ?? uses.first { $0.name == table }
        return use?.kinds ?? Set(RunKind.allCases)
    }
}
