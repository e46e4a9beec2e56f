import LyraBase

/// Reads JSON configuration files.
public enum JSONFile {
    /// The longest JSON file that is read. The largest in use, a tokenizer.json, has about 11 MB.
    public static let sizeLimit = 64 << 20
    /// The longest configuration that is read: decoding takes many times its size in memory. Published configurations
    /// have a few thousand bytes, those with filter tables 400,000.
    public static let configurationLimit = 1 << 20

    /// The most bytes of a JSON or text file of this name in a checkpoint.
    public static func limit(of name: String) -> Int {
        name.hasSuffix("config.json") && !name.hasSuffix("tokenizer_config.json") ? configurationLimit : sizeLimit
    }

    /// Decodes the JSON file at `path`.
    ///
    /// - Throws: `.missing` when there is no such file; `.io` when it cannot be read; `.format` when it is longer than
    ///   `configurationLimit`, and what `JSONText.decode` throws.
    public static func decode<T: Decodable>(_ type: T.Type, path: String) throws -> T {
        let bytes = try MappedFile.contents(path: path, limit: configurationLimit)
        return try bytes.withUnsafeBytes { try JSONText.decode(type, from: $0, source: path) }
    }
}
