import LyraBase
import LyraTensor

/// A type of values in a recipe.
protocol RecipeValue: Equatable {
    /// What a value looks like, for messages.
    static var expectation: String { get }
    /// The value of a node; nil if it is of another kind.
    static func read(_ node: TOMLNode) -> Self?
    /// The value in TOML.
    var toml: String { get }
}

extension String: RecipeValue {
    static var expectation: String { "text in quotation marks" }

    static func read(_ node: TOMLNode) -> String? { if case .string(let text) = node.content { text } else { nil } }

    /// JSON's escapes are TOML's, which also wants DEL escaped.
    var toml: String {
        JSONText.quoted(self).split(separator: "\u{7F}", omittingEmptySubsequences: false)
            .joined(separator: "\\u007F")
    }
}

extension Int: RecipeValue {
    static var expectation: String { "a whole number" }

    static func read(_ node: TOMLNode) -> Int? {
        if case .integer(let number) = node.content { Int(exactly: number) } else { nil }
    }

    var toml: String { "\(self)" }
}

/// TOML's numbers have a sign: a negative one stands for the number with the same 64 bits.
extension UInt64: RecipeValue {
    static var expectation: String { "a whole number" }

    static func read(_ node: TOMLNode) -> UInt64? {
        if case .integer(let number) = node.content { UInt64(bitPattern: number) } else { nil }
    }

    var toml: String { "\(Int64(bitPattern: self))" }
}

extension Double: RecipeValue {
    static var expectation: String { "a number" }

    static func read(_ node: TOMLNode) -> Double? {
        switch node.content {
        case .float(let number): number
        case .integer(let number): Double(number)
        default: nil
        }
    }

    var toml: String { isNaN ? "nan" : "\(self)" }
}

extension Bool: RecipeValue {
    static var expectation: String { "true or false" }

    static func read(_ node: TOMLNode) -> Bool? { if case .boolean(let value) = node.content { value } else { nil } }

    var toml: String { self ? "true" : "false" }
}

extension Array: RecipeValue where Element: RecipeValue {
    static var expectation: String { "a list of values, each \(Element.expectation)" }

    static func read(_ node: TOMLNode) -> [Element]? {
        guard case .array(let nodes) = node.content else { return nil }
        let elements = nodes.compactMap { Element.read($0) }
        return elements.count == nodes.count ? elements : nil
    }

    var toml: String { "[" + map(\.toml).joined(separator: ", ") + "]" }
}

extension RecipeValue where Self: RawRepresentable & CaseIterable, RawValue == String {
    static var expectation: String { "one of " + allCases.map { shown($0.rawValue) }.joined(separator: ", ") }

    static func read(_ node: TOMLNode) -> Self? { String.read(node).flatMap { Self(rawValue: $0) } }

    var toml: String { rawValue.toml }
}

extension Schedule.Shape: RecipeValue {}
extension Precision: RecipeValue {}
extension TrainingObjective: RecipeValue {}
extension TrainingRecipe.Head.Kind: RecipeValue {}
extension TrainingRecipe.Optimizer.Method: RecipeValue {}

/// Written as a number where it is one.
extension TrainingStage: RecipeValue {
    static var expectation: String { "1, 2, 3, 4 or \"pretrain\"" }

    static func read(_ node: TOMLNode) -> TrainingStage? {
        TrainingStage(rawValue: Int.read(node).map { "\($0)" } ?? String.read(node) ?? "")
    }

    var toml: String { self == .pretrain ? rawValue.toml : rawValue }
}
