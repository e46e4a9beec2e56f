import LyraBase

extension Safetensors {
    /// The most bytes of one text of the metadata that are read.
    private static let metadataLimit = 1 << 20
    /// The most texts.
    private static let metadataEntries = 4096

    /// The texts of `__metadata__`, by key; empty if the file has none.
    ///
    /// - Throws: `.format` for a text that is longer than 1 MiB or not UTF-8; `.unsupported` for more than 4,096 texts.
    public func metadata() throws -> [String: String] {
        let text = UnsafeRawBufferPointer(rebasing: file.bytes[8..<(try Self.dataStart(in: file))])
        defer { withExtendedLifetime(file) {} }
        return try JSONScanner.read(text, source: "\(file.path): safetensors header") { scanner in
            var metadata: [String: String] = [:]
            try scanner.object { scanner, name in
                guard name.elementsEqual("__metadata__".utf8) else { return try scanner.skip() }
                try scanner.object { scanner, key in
                    guard metadata.count < Self.metadataEntries else {
                        throw LyraError(
                            .unsupported, "\(file.path): more than \(Self.metadataEntries) texts of metadata")
                    }
                    metadata[String(decoding: key, as: UTF8.self)] = try scanner.text(limit: Self.metadataLimit)
                }
            }
            return metadata
        }
    }
}
