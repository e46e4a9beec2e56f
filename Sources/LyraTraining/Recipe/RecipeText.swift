import LyraBase
import LyraFormats

// MARK: Reading

extension TrainingRecipe {
    /// The longest recipe that is read, in bytes.
    private static let sizeLimit = 1 << 20

    /// Reads a recipe's file. Keys that it does not have keep the stage's defaults.
    ///
    /// - Parameter stage: takes precedence over the file's; one of them must be there
    /// - Throws: `LyraError` with file, line and column: for a text that is not TOML, an unknown key, with the nearest
    ///   known one, or a value of the wrong type or out of range.
    public init(path: String, stage: TrainingStage? = nil) throws {
        try self.init(toml: MappedFile.contents(path: path, limit: Self.sizeLimit), source: path, stage: stage)
    }

    /// Reads a recipe's text in the same way.
    ///
    /// - Parameter source: the file, for messages
    public init(toml bytes: [UInt8], source: String, stage: TrainingStage? = nil) throws {
        let document = try TOMLDocument(bytes, source: source)
        let stage = try Self.stage(document, source, stage)
        self.init(stage: stage, objective: try Self.objective(document, of: stage))
        let fields = Dictionary(RecipeField.all.map { ($0.name, $0) }) { first, _ in first }
        try read(document.root, prefix: "", document, fields)
    }

    private static func stage(_ document: TOMLDocument, _ source: String, _ given: TrainingStage?) throws
        -> TrainingStage
    {
        guard let member = document.root["stage"] else {
            if let given { return given }
            throw LyraError(
                .argument, "\(source): the stage is missing; give --stage, or write stage = \(expectedStage)")
        }
        guard let stage = TrainingStage.read(member.value) else {
            throw document.error("stage must be \(expectedStage)", at: member.value.offset)
        }
        return given ?? stage
    }

    private static var expectedStage: String { TrainingStage.expectation }

    private static func objective(_ document: TOMLDocument, of stage: TrainingStage) throws -> TrainingObjective {
        guard let member = document.root["objective"] else { return .language }
        guard let objective = TrainingObjective.read(member.value) else {
            throw document.error(
                "objective " + TrainingObjective.mismatch(member.value), at: member.value.offset)
        }
        if let fault = fault(of: objective, in: stage) { throw document.error(fault, at: member.value.offset) }
        return objective
    }

    private static func fault(of objective: TrainingObjective, in stage: TrainingStage) -> String? {
        guard objective != .language, stage != .pretrain else { return nil }
        return "objective is \(objective.toml), which only stage \"pretrain\" has, not stage \(stage.toml)"
    }

    private mutating func read(
        _ table: TOMLTable, prefix: String, _ document: TOMLDocument, _ fields: [String: RecipeField]
    ) throws {
        for member in table.members where !["stage", "objective"].contains(prefix + member.key) {
            let name = prefix + member.key
            if name == "group" {
                try RecipeTable.groups.read(member, document, into: &self)
            } else if name == "head" {
                try RecipeTable.heads.read(member, document, into: &self)
            } else if let field = fields[name] {
                if let fault = field.access.read(&self, member.value) {
                    throw document.error("\(name) \(fault)", at: member.value.offset)
                }
            } else if case .table(let inner) = member.value.content,
                fields.values.contains(where: { $0.table == name || $0.table.hasPrefix(name + ".") })
            {
                try read(inner, prefix: name + ".", document, fields)
            } else {
                throw document.error(Self.unknown(name, fields.keys.sorted()), at: member.keyOffset)
            }
        }
    }

    static func unknown(_ name: String, _ known: [String]) -> String {
        let all = known + ["stage", "objective"]
        let nearest = all.map { ($0, min(distance($0, name), distance(lastPart($0), name))) }.min { $0.1 < $1.1 }
        let hint = nearest.flatMap { $0.1 <= max(2, name.count / 3) ? "; did you mean \($0.0)?" : nil }
        return "there is no key \(shown(name))" + (hint ?? "; --print-recipe prints all keys")
    }

    private static func lastPart(_ name: String) -> String {
        name.split(separator: ".").last.map { String($0) } ?? name
    }

    /// The number of characters to insert, remove or replace to make one text of the other (Levenshtein).
    private static func distance(_ a: String, _ b: String) -> Int {
        let b = Array(b.unicodeScalars.prefix(64))
        var row = Array(0...b.count)
        for (i, x) in a.unicodeScalars.enumerated() {
            var diagonal = row[0]
            row[0] = i + 1
            for (j, y) in b.enumerated() {
                let replaced = diagonal + (x == y ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
            }
        }
        return row.last ?? 0
    }
}

// MARK: Checking

extension TrainingRecipe {
    /// - Throws: `LyraError.argument` that names the key, if a value is out of range, or keys do not fit each other.
    public func check() throws {
        for field in RecipeField.all {
            if let fault = field.access.fault(self) { throw LyraError(.argument, "recipe: \(field.name) \(fault)") }
        }
        for (name, isEmpty) in [("model", model.isEmpty), ("data", data.isEmpty), ("output", output.isEmpty)]
        where isEmpty {
            throw LyraError(.argument, "recipe: \(name) is missing; the run needs it")
        }
        guard extractor.blocks == nil || extractor.gap == nil else {
            throw LyraError(.argument, "recipe: extractor.blocks and extractor.gap exclude each other; remove one")
        }
        guard dataWeights.isEmpty || dataWeights.count == data.count else {
            throw LyraError(
                .argument, "recipe: data_weights has \(dataWeights.count) numbers for the \(data.count) files of data")
        }
        // The batches of all epochs are then those of the first, which has only a part of the file.
        if batch.tokens != nil, batch.epochs > 1 || batch.steps != nil,
            let weight = dataWeights.first(where: { $0 != $0.rounded() })
        {
            throw LyraError(
                .argument,
                "recipe: data_weights has \(weight); with batch.tokens, each epoch would have the same part of the "
                    + "file. Use whole numbers, one epoch, or no batch.tokens")
        }
        try RecipeTable.groups.check(self)
        try RecipeTable.heads.check(self)
        try checkObjective()
    }

    /// - Throws: `LyraError.argument` for what the objective lacks, or does not use.
    private func checkObjective() throws {
        func refusal(_ reason: String) -> LyraError { LyraError(.argument, "recipe: \(reason)") }
        if let fault = Self.fault(of: objective, in: stage) { throw refusal(fault) }
        let isTower = [.speechTower, .visionTower].contains(objective)
        if isTower, heads.isEmpty {
            throw refusal("objective \(objective.toml) needs a [[head]] that names what the tower learns")
        }
        if isTower, !heads.contains(where: { $0.weight > 0 }) {
            throw refusal("every [[head]] has a weight of 0, so nothing would be trained")
        }
        let names = heads.map(\.name)
        if let twice = names.indices.first(where: { names[..<$0].contains(names[$0]) }) {
            throw refusal("there are two heads called \(shown(names[twice])); give each a name of its own")
        }
        if let fault = unusedFault { throw refusal(fault) }
    }

    /// The keys whose values decide the trained numbers and differ from another recipe's, with both values. Keys that
    /// the run does not use are left out: earlier versions accepted them, and their states have values for them.
    func differences(from other: TrainingRecipe) -> [String] {
        var unlisted = stage == other.stage ? [] : ["stage is \(stage.toml), was \(other.stage.toml)"]
        if objective != other.objective {
            unlisted.append("objective is \(objective.toml), was \(other.objective.toml)")
        }
        unlisted += RecipeTable.groups.difference(self, from: other) + RecipeTable.heads.difference(self, from: other)
        return unlisted
            + RecipeField.all.filter { $0.isFixed && $0.kinds.contains(kind) }.compactMap { field in
                let (new, old) = (field.access.written(self), field.access.written(other))
                return new == old ? nil : "\(field.name) is \(new ?? "not set"), was \(old ?? "not set")"
            }
    }
}

// MARK: Writing

extension TrainingRecipe {
    /// The recipe as TOML, with every key and a comment for it. Reading the text gives the same recipe.
    public var toml: String {
        var text = "# A recipe for lyra train. Options on the command line take precedence.\n\n"
        text += "# The stage decides the defaults of other keys: \(Self.expectedStage).\nstage = \(stage.toml)\n"
        if stage == .pretrain {
            text += "# What is learned, which decides more defaults: \(TrainingObjective.expectation).\n"
            text += "objective = \(objective.toml)\n"
        }
        var table: Substring = ""
        for field in RecipeField.all {
            if field.table != table {
                table = field.table
                text += "\n[\(table)]\n"
            }
            if !field.comment.isEmpty { text += "# \(field.comment)\n" }
            text += field.access.written(self).map { "\(field.key) = \($0)\n" } ?? "# \(field.key) = \(field.example)\n"
        }
        return text + RecipeTable.groups.toml(self) + RecipeTable.heads.toml(self)
    }
}
