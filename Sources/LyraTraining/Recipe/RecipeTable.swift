import LyraBase

/// A table of a recipe that can be there several times, such as `[[group]]`.
struct RecipeTable<Row: Equatable> {
    let name: String
    let comment: String
    /// Shown, commented out, in a recipe that has no such table.
    let example: String
    let path: WritableKeyPath<TrainingRecipe, [Row]>
    let fresh: @Sendable () -> Row
    let fields: [RecipeRowField<Row>]
}

/// One key of such a table.
struct RecipeRowField<Row> {
    let key: String
    let access: RecipeAccess<Row>

    init<Value: RecipeValue>(_ key: String, _ path: WritableKeyPath<Row, Value>, _ rule: Rule<Value> = .any) {
        (self.key, access) = (key, RecipeAccess(path, rule))
    }

    init<Value: RecipeValue>(_ key: String, optional path: WritableKeyPath<Row, Value?>, _ rule: Rule<Value>) {
        (self.key, access) = (key, RecipeAccess(optional: path, rule))
    }
}

extension RecipeTable<TrainingRecipe.Group> {
    static var groups: Self {
        Self(
            name: "group",
            comment: "# Parameters with settings of their own; the first group that names a parameter counts.\n",
            example: "# [[group]]\n# parameters = [\"projector\"]\n# learning_rate = 1e-4\n# weight_decay = 0.0\n",
            path: \.groups, fresh: { TrainingRecipe.Group() },
            fields: [
                .init("parameters", \.parameters, .listNotEmpty()),
                .init("learning_rate", optional: \.learningRate, .notNegative),
                .init("weight_decay", optional: \.weightDecay, .notNegative),
            ])
    }
}

extension RecipeTable<TrainingRecipe.Head> {
    static var heads: Self {
        Self(
            name: "head",
            comment: "# What a tower learns to tell: a label of each row (row_labels of the data), or a sequence that\n"
                + "# all rows spell (sequence_labels). The labels are 0 to labels - 1.\n",
            example: "# [[head]]\n# name = \"phone\"\n# kind = \"rows\"\n# labels = 40\n# weight = 1.0\n",
            path: \.heads, fresh: { TrainingRecipe.Head() },
            fields: [
                .init("name", \.name, .name), .init("kind", \.kind),
                .init("labels", \.labels, .within(1...LabelHead.labelLimit)), .init("weight", \.weight, .notNegative),
            ])
    }
}

// MARK: Reading, checking and writing

extension RecipeTable {
    func read(_ member: TOMLTable.Member, _ document: TOMLDocument, into recipe: inout TrainingRecipe) throws {
        guard case .tables(let list) = member.value.content else {
            throw document.error("each \(name) is a table under the header [[\(name)]]", at: member.keyOffset)
        }
        for table in list.tables {
            var row = fresh()
            for member in table.members {
                let key = name + "." + member.key
                guard let field = fields.first(where: { $0.key == member.key }) else {
                    throw document.error(
                        TrainingRecipe.unknown(key, fields.map { name + "." + $0.key }), at: member.keyOffset)
                }
                if let fault = field.access.read(&row, member.value) {
                    throw document.error("\(key) \(fault)", at: member.value.offset)
                }
            }
            recipe[keyPath: path].append(row)
        }
    }

    /// - Throws: `LyraError.argument` for a value out of range.
    func check(_ recipe: TrainingRecipe) throws {
        for row in recipe[keyPath: path] {
            for field in fields {
                guard let fault = field.access.fault(row) else { continue }
                throw LyraError(.argument, "recipe: \(name).\(field.key) \(fault)")
            }
        }
    }

    /// What the table is in another recipe's, if it differs.
    func difference(_ recipe: TrainingRecipe, from other: TrainingRecipe) -> [String] {
        recipe[keyPath: path] == other[keyPath: path] ? [] : ["the \(name)s are others"]
    }

    func toml(_ recipe: TrainingRecipe) -> String {
        let rows = recipe[keyPath: path]
        return "\n" + comment + (rows.isEmpty ? example : rows.map { text(of: $0) }.joined())
    }

    private func text(of row: Row) -> String {
        "\n[[\(name)]]\n"
            + fields.compactMap { field in field.access.written(row).map { "\(field.key) = \($0)\n" } }.joined()
    }
}
