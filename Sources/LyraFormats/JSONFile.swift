import FoundationEssentials
import LyraBase

/// Reads JSON configuration files, with errors that name the file and the place in it.
public enum JSONFile {
    /// The longest JSON file that is read. The largest in use, a tokenizer.json, has about 11 MB.
    public static let sizeLimit = 64 << 20
    /// The longest configuration that is read: decoding takes many times its size. Published ones have a few thousand bytes,
    /// some with tables of filters 400,000.
    public static let configurationLimit = 1 << 20

    /// The most bytes that a model's text of this name may have.
    public static func limit(of name: String) -> Int {
        name.hasSuffix("config.json") && !name.hasSuffix("tokenizer_config.json") ? configurationLimit : sizeLimit
    }

    /// Decodes the JSON file at `path`.
    ///
    /// - Throws: `.missing` when there is no such file; `.io` when it cannot be read; `.format`, with the file and the path
    ///   of keys, when it is longer than `configurationLimit`, not UTF-8, not JSON, or lacks a key or has one of another type.
    public static func decode<T: Decodable>(_ type: T.Type, path: String) throws -> T {
        let bytes = try MappedFile.contents(path: path, limit: configurationLimit)
        return try bytes.withUnsafeBytes { try decode(type, from: $0, source: path) }
    }

    /// JSON text of a value.
    ///
    /// - Throws: `.format` if it holds a number that JSON has no word for.
    public static func encode(_ value: some Encodable) throws -> [UInt8] {
        do {
            return [UInt8](try JSONEncoder().encode(value))
        } catch {
            throw LyraError(.format, "not to be written as JSON: \(shown(String(describing: error)))")
        }
    }

    /// Decodes JSON text in memory; `source` names it in errors.
    public static func decode<T: Decodable>(_ type: T.Type, from text: UnsafeRawBufferPointer, source: String) throws
        -> T
    {
        // A zero byte never stands in JSON text, but makes the decoder guess at UTF-16.
        guard String(validating: text, as: UTF8.self) != nil, !text.contains(0) else {
            throw LyraError(.format, "\(source): not JSON: it is not UTF-8 text")
        }
        do {
            return try JSONDecoder().decode(type, from: Data(text))
        } catch DecodingError.dataCorrupted(let context) where context.codingPath.isEmpty {
            // The decoder says the same of text that does not parse and of a number that the type cannot hold.
            let parses = (try? JSONDecoder().decode(Anything.self, from: Data(text))) != nil
            let reason = parses ? "a number in it is too large, or has a fraction where none may be" : "not valid JSON"
            throw LyraError(.format, "\(source): \(reason)")
        } catch let error as DecodingError {
            throw LyraError(.format, "\(source): \(describe(error))")
        } catch let error as LyraError {
            throw error
        } catch {
            throw LyraError(.format, "\(source): not readable as JSON: \(shown(String(describing: error)))")
        }
    }

    /// Takes any JSON text that parses.
    private struct Anything: Decodable {
        init(from decoder: any Decoder) {}
    }

    private static func describe(_ error: DecodingError) -> String {
        switch error {
        case .keyNotFound(let key, let context):
            "\(place(context.codingPath)): the key \(shown(key.stringValue)) is missing"
        case .valueNotFound(let type, let context):
            "\(place(context.codingPath)): null where a value of type \(type) is needed"
        case .typeMismatch(let type, let context):
            "\(place(context.codingPath)): not a value of type \(type)"
        case .dataCorrupted(let context):
            "\(place(context.codingPath)): \(shown(context.debugDescription))"
        @unknown default:
            "not valid JSON"
        }
    }

    /// The keys that lead to a value, in the manner of `layers[3].size`.
    private static func place(_ path: [any CodingKey]) -> String {
        guard !path.isEmpty else { return "at the top level" }
        var text = ""
        for key in path {
            if let index = key.intValue {
                text += "[\(index)]"
            } else {
                text += (text.isEmpty ? "" : ".") + key.stringValue
            }
        }
        return "at " + shown(text)
    }
}
