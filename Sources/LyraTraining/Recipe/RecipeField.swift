import LyraBase

/// One key of a recipe: how it is read, written and checked.
struct RecipeField {
    /// With its table: `optimizer.learning_rate`.
    let name: String
    let comment: String
    /// Whether a run that is resumed must have the same value: the trained numbers depend on it. What paths lead to is
    /// compared instead of the paths (`RunIdentity`).
    let isFixed: Bool
    /// What an optional key may look like, where it has no value.
    let example: String
    let access: RecipeAccess<TrainingRecipe>

    /// The table that the key stands in, and the key in the table.
    var table: Substring { name.lastIndex(of: ".").map { name[..<$0] } ?? "" }
    var key: Substring { name.lastIndex(of: ".").map { name[name.index(after: $0)...] } ?? name[...] }

    init<Value: RecipeValue>(
        _ name: String, _ path: WritableKeyPath<TrainingRecipe, Value>, _ comment: String, isFixed: Bool = true,
        rule: Rule<Value> = .any
    ) {
        (self.name, self.comment, self.isFixed, example) = (name, comment, isFixed, "")
        access = RecipeAccess(path, rule)
    }

    /// - Parameter example: a value in TOML, shown where there is none
    init<Value: RecipeValue>(
        _ name: String, optional path: WritableKeyPath<TrainingRecipe, Value?>, example: String, _ comment: String,
        isFixed: Bool = true, rule: Rule<Value> = .any
    ) {
        (self.name, self.comment, self.isFixed, self.example) = (name, comment, isFixed, example)
        access = RecipeAccess(optional: path, rule)
    }
}

extension RecipeValue {
    /// What is wrong with a value of another type.
    static func mismatch(_ node: TOMLNode) -> String {
        "must be \(expectation), not " + (String.read(node).map { shown($0) } ?? node.kind)
    }
}

/// How the value of a key is read, written and checked, in a recipe or in a row of one of its tables.
struct RecipeAccess<Root> {
    /// Sets the value. → what is wrong with it, or nil
    let read: (inout Root, TOMLNode) -> String?
    /// The value in TOML; nil if there is none.
    let written: (Root) -> String?
    /// What is wrong with the value; nil if nothing is.
    let fault: (Root) -> String?

    init<Value: RecipeValue>(_ path: WritableKeyPath<Root, Value>, _ rule: Rule<Value>) {
        read = Self.reader(path, rule) { $0 }
        written = { $0[keyPath: path].toml }
        fault = { rule.fault($0[keyPath: path]) }
    }

    init<Value: RecipeValue>(optional path: WritableKeyPath<Root, Value?>, _ rule: Rule<Value>) {
        read = Self.reader(path, rule) { $0 }
        written = { $0[keyPath: path]?.toml }
        fault = { $0[keyPath: path].flatMap { rule.fault($0) } }
    }

    private static func reader<Value: RecipeValue, Stored>(
        _ path: WritableKeyPath<Root, Stored>, _ rule: Rule<Value>, _ store: @escaping (Value) -> Stored
    ) -> (inout Root, TOMLNode) -> String? {
        { root, node in
            guard let value = Value.read(node) else { return Value.mismatch(node) }
            root[keyPath: path] = store(value)
            return rule.fault(value)
        }
    }
}

/// Which values a key may have.
struct Rule<Value> {
    let words: String
    let isMet: (Value) -> Bool

    static var any: Rule { Rule(words: "") { _ in true } }

    func fault(_ value: Value) -> String? { isMet(value) ? nil : "is \(value); it must be \(words)" }
}

extension Rule where Value == Int {
    static func within(_ range: ClosedRange<Int>) -> Rule {
        Rule(words: "\(range.lowerBound) to \(range.upperBound)") { range.contains($0) }
    }
}

extension Rule where Value == String {
    /// A name that can be part of a tensor's name and a column of the log.
    static var name: Rule {
        Rule(words: "letters, digits, _ and -, and no other column of the log") { name in
            let isPlain = name.utf8.allSatisfy { byte in
                UInt8(ascii: "a")...UInt8(ascii: "z") ~= byte || UInt8(ascii: "A")...UInt8(ascii: "Z") ~= byte
                    || UInt8(ascii: "0")...UInt8(ascii: "9") ~= byte || [0x5F, 0x2D].contains(byte)
            }
            let isDerived = ["validation_", "accuracy_"].contains { name.hasPrefix($0) }
            return isPlain && !name.isEmpty && !isDerived && !LogLine.names.contains(name)
        }
    }
}

extension Rule where Value == Double {
    static func within(_ range: ClosedRange<Double>) -> Rule {
        Rule(words: "\(range.lowerBound) to \(range.upperBound)") { range.contains($0) }
    }

    static var notNegative: Rule { Rule(words: "0 or more") { $0 >= 0 && $0.isFinite } }
    static var positive: Rule { Rule(words: "above 0") { $0 > 0 && $0.isFinite } }
    static var belowOne: Rule { Rule(words: "0 or more, and below 1") { (0..<1).contains($0) } }
}

extension Rule {
    static func listNotEmpty<Element>() -> Rule where Value == [Element] {
        Rule(words: "a list that is not empty") { !$0.isEmpty }
    }
}
