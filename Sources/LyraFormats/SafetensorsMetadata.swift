import LyraBase

extension Safetensors {
    /// The strings of `__metadata__`, by key; none if the header has none.
    ///
    /// - Throws: `LyraError.format` if the header is damaged.
    public func metadata() throws -> [String: String] {
        let text = UnsafeRawBufferPointer(rebasing: file.bytes[8..<(try Self.dataStart(in: file))])
        var strings: [String: String] = [:]
        try JSONScanner.read(text, source: "\(file.path): safetensors header") { scanner in
            try scanner.object { scanner, key in
                guard String(decoding: key, as: UTF8.self) == "__metadata__" else { return try scanner.skip() }
                try scanner.object { scanner, key in
                    strings[String(decoding: key, as: UTF8.self)] = try scanner.text(limit: .max)
                }
            }
        }
        return strings
    }
}
