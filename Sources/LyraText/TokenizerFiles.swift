import LyraBase

/// Readers of the published file formats; each adds its tokens and merges to the builder.
extension VocabularyBuilder {
    /// `vocab.json`: one object, token → id.
    mutating func readVocabulary(_ file: NamedBytes) throws {
        try file.scan { try readVocabulary(&$0, source: file.name) }
    }

    private mutating func readVocabulary(_ scanner: inout JSONScanner, source: String) throws {
        try scanner.object { scanner, token in try addToken(token, id: try scanner.integer(), source: source) }
    }

    /// `merges.txt`: a `#version` line, then one merge on each line: two tokens separated by a space.
    mutating func readMerges(_ file: NamedBytes) throws {
        try file.withBytes { bytes in
            var rest = bytes[...], number = 0
            while !rest.isEmpty {
                number += 1
                var line = rest.prefix { $0 != UInt8(ascii: "\n") }
                rest = rest[line.endIndex...].dropFirst()
                if line.last == UInt8(ascii: "\r") { line.removeLast() }
                if line.isEmpty || number == 1 && line.starts(with: "#version".utf8) { continue }
                guard try addMerge(joined: line, source: file.name) else {
                    throw LyraError(.format, "\(file.name): line \(number) is not two tokens separated by one space")
                }
            }
        }
    }

    private mutating func addMerge(
        joined line: some BidirectionalCollection<UInt8>, source: String
    ) throws -> Bool {
        guard let space = line.firstIndex(of: UInt8(ascii: " ")) else { return false }
        let right = line[line.index(after: space)...]
        guard !right.contains(UInt8(ascii: " ")) else { return false }
        try addMerge(line[..<space], right, source: source)
        return true
    }

    /// `added_tokens.json`: one object, content → id. The file does not say which tokens are special, so all are.
    mutating func readAddedTokens(_ file: NamedBytes) throws {
        try file.scan { scanner in
            try scanner.object { scanner, content in
                try addAdded(AddedToken(content: content, id: try scanner.integer()), source: file.name)
            }
        }
    }

    /// `tokenizer_config.json`: its `added_tokens_decoder`, if there is one; the other keys do not affect encoding.
    mutating func readConfiguration(_ file: NamedBytes) throws {
        try file.scan { scanner in
            try scanner.object { scanner, key in
                guard key.elementsEqual("added_tokens_decoder".utf8) else { return try scanner.skip() }
                try scanner.object { scanner, key in
                    guard let id = Int(String(decoding: key, as: UTF8.self)) else {
                        throw scanner.error("a key of added_tokens_decoder is not a token id")
                    }
                    try readAddedToken(&scanner, id: id, source: file.name)
                }
            }
        }
    }

    /// One entry of `added_tokens` or `added_tokens_decoder`. Contents are matched before the text is normalised.
    private mutating func readAddedToken(_ scanner: inout JSONScanner, id: Int?, source: String) throws {
        var id = id
        var content: [UInt8] = []
        var isSpecial = false
        try scanner.object { scanner, key in
            switch String(decoding: key, as: UTF8.self) {
            case "id": id = try scanner.integer()
            case "content": content = try scanner.string()
            case "special": isSpecial = try scanner.boolean()
            case "lstrip", "rstrip", "single_word":
                if try scanner.boolean() {
                    throw LyraError(
                        .unsupported,
                        "\(source): an added token sets \(String(decoding: key, as: UTF8.self)), which lyra does not "
                            + "support")
                }
            default: try scanner.skip()
            }
        }
        guard let id else { throw scanner.error("an added token has no id") }
        try addAdded(AddedToken(content: content, id: id, isSpecial: isSpecial), source: source)
    }

    /// `tokenizer.json`. Rejects settings that would encode differently from Qwen2.
    mutating func readTokenizer(_ file: NamedBytes) throws {
        var found = false
        try file.scan { scanner in
            try scanner.object { scanner, key in
                switch String(decoding: key, as: UTF8.self) {
                case "added_tokens":
                    try scanner.array { try readAddedToken(&$0, id: nil, source: file.name) }
                case "normalizer": try Self.checkNormalizer(&scanner, source: file.name)
                case "pre_tokenizer": try Self.checkPreTokenizer(&scanner, source: file.name)
                case "model":
                    found = true
                    try readModel(&scanner, source: file.name)
                default: try scanner.skip()
                }
            }
        }
        guard found else { throw LyraError(.format, "\(file.name): the key \"model\" is missing") }
    }

    private mutating func readModel(_ scanner: inout JSONScanner, source: String) throws {
        try scanner.object { scanner, key in
            let name = String(decoding: key, as: UTF8.self)
            switch name {
            case "type":
                let type = String(decoding: try scanner.string(), as: UTF8.self)
                guard type == "BPE" else {
                    throw LyraError(.unsupported, "\(source): the model type is \(shown(type)); lyra reads BPE only")
                }
            case "vocab": try readVocabulary(&scanner, source: source)
            case "merges": try scanner.array { try readMerge(&$0, source: source) }
            case "continuing_subword_prefix", "end_of_word_suffix":
                guard try scanner.null() || scanner.string().isEmpty else {
                    throw LyraError(.unsupported, "\(source): the model sets \(name); lyra reads byte-level BPE only")
                }
            case "byte_fallback", "ignore_merges":
                guard try scanner.null() || !scanner.boolean() else {
                    throw LyraError(.unsupported, "\(source): the model sets \(name); lyra reads byte-level BPE only")
                }
            default: try scanner.skip()
            }
        }
    }

    /// A merge as `"a b"` or as `["a", "b"]`.
    private mutating func readMerge(_ scanner: inout JSONScanner, source: String) throws {
        if try scanner.peek() == UInt8(ascii: "\"") {
            let line = try scanner.string()
            guard try addMerge(joined: line, source: source) else {
                throw scanner.error("a merge is not two tokens separated by one space")
            }
            return
        }
        var pair: [[UInt8]] = []
        try scanner.array { scanner in
            guard pair.count < 2 else { throw scanner.error("a merge has more than two tokens") }
            pair.append(try scanner.string())
        }
        guard pair.count == 2 else { throw scanner.error("a merge has fewer than two tokens") }
        try addMerge(pair[0], pair[1], source: source)
    }

    private static func checkNormalizer(_ scanner: inout JSONScanner, source: String) throws {
        var type = "none"
        if try !scanner.null() {
            try scanner.object { scanner, key in
                guard key.elementsEqual("type".utf8) else { return try scanner.skip() }
                type = String(decoding: try scanner.string(), as: UTF8.self)
            }
        }
        guard type == "NFC" else {
            throw LyraError(.unsupported, "\(source): the normalizer is \(shown(type)); lyra reads tokenizers with NFC")
        }
    }

    private static func checkPreTokenizer(_ scanner: inout JSONScanner, source: String) throws {
        var patterns: [[UInt8]] = []
        try collectPatterns(&scanner, into: &patterns)
        guard patterns.count == 1, patterns[0].elementsEqual(PreTokenizer.pattern.utf8) else {
            throw LyraError(
                .unsupported, "\(source): the pre-tokenizer does not split by Qwen2's pattern, the only one lyra knows")
        }
    }

    /// Every `"Regex"` member at any depth.
    private static func collectPatterns(_ scanner: inout JSONScanner, into patterns: inout [[UInt8]]) throws {
        switch try scanner.peek() {
        case UInt8(ascii: "{"):
            try scanner.object { scanner, key in
                if key.elementsEqual("Regex".utf8), try scanner.peek() == UInt8(ascii: "\"") {
                    patterns.append(try scanner.string())
                } else {
                    try collectPatterns(&scanner, into: &patterns)
                }
            }
        case UInt8(ascii: "["): try scanner.array { try collectPatterns(&$0, into: &patterns) }
        default: try scanner.skip()
        }
    }
}
