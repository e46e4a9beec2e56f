import LyraFormats
import LyraBase

/// How lyra handles a key of a configuration file.
enum KeyRule: Sendable {
    /// A configuration reads the key, or a check compares it with other keys.
    case used
    /// The key changes no number that lyra computes: training, bookkeeping, parts that lyra does not run.
    case irrelevant
    /// lyra computes as these values specify; a file with another value is rejected. null, {} and [] are always
    /// allowed.
    case only([JSONValue])
    /// lyra computes as these values specify; for another value, a note says that it has no effect.
    case noted([JSONValue])
    /// An object with its own keys.
    case inside(KeyTable)
}

/// The keys of one kind of configuration file. Every key has a rule, so that no key that changes the numbers is
/// overlooked; an unknown key produces a note.
struct KeyTable: Sendable {
    private(set) var rules: [String: KeyRule] = [:]
    /// Whether objects under other names have the same keys, as `rope_parameters` does for each layer type.
    var isRepeated = false

    /// - Parameters:
    ///   - groups: keys, separated by white space, with their common rule
    ///   - others: tables whose keys are included unless `groups` overrides them
    init(_ groups: [(keys: String, rule: KeyRule)], including others: [KeyTable] = []) {
        for table in others { rules.merge(table.rules) { _, new in new } }
        for (keys, rule) in groups {
            for key in keys.split(whereSeparator: \.isWhitespace) { rules[String(key)] = rule }
        }
    }

    /// - Parameters:
    ///   - source: the file, for messages
    ///   - path: the keys that lead to `value`, with a dot after each
    ///   - note: receives messages about unknown keys and about values without effect
    /// - Throws: `LyraError.unsupported`, with file, key and value, for a value that would change the numbers.
    func check(_ value: JSONValue, _ source: String, path: String = "", note: (String) -> Void) throws {
        guard case .object(let members) = value else { return }
        for (key, value) in members.sorted(by: { $0.0 < $1.0 }) {
            let name = shown(path + key).dropFirst().dropLast()
            switch rules[key] {
            case .used, .irrelevant: break
            case .only(let allowed):
                guard !value.isUnset, !allowed.contains(value) else { break }
                throw LyraError(
                    .unsupported,
                    "\(source): \(name) is \(value.summary), which lyra does not compute"
                        + (allowed.isEmpty ? "" : "; it computes \(allowed.map(\.summary).joined(separator: ", "))"))
            case .noted(let allowed):
                guard !value.isUnset, !allowed.contains(value) else { break }
                note("\(source): \(name) is \(value.summary), which has no effect in lyra")
            case .inside(let table): try table.check(value, source, path: path + key + ".", note: note)
            case nil:
                if isRepeated, case .object = value {
                    try check(value, source, path: path + key + ".", note: note)
                } else {
                    note("\(source) has a key that lyra does not know: \(name)")
                }
            }
        }
    }
}

extension JSONValue {
    /// Whether the value is equivalent to an absent key.
    fileprivate var isUnset: Bool { self == .null || self == .array([]) || self == .object([]) }

    /// The value as messages show it; for an object, its type.
    fileprivate var summary: String {
        switch self {
        case .null: return "null"
        case .bool(let value): return String(value)
        case .number(let value):
            return Int(exactly: value).map { String($0) } ?? String(value)
        case .string(let value): return shown(value)
        case .array(let values): return "a list of \(values.count)"
        case .object:
            let kinds = ["quant_method", "quant_algo", "quant_type", "rope_type", "type"].compactMap {
                self[$0]?.string
            }
            return kinds.first.map { shown($0) } ?? "an object"
        }
    }
}
