import LyraBase

/// Typed access to the metadata: nil when the key is missing, `.format` when its value has another type.
extension GGUFFile {
    /// The string under a key.
    ///
    /// - Throws: `.format`, naming file and key, when the value is no string.
    public func string(_ key: String) throws -> String? {
        try value(key, as: "a string") { if case .string(let value) = $0 { value } else { nil } }
    }

    /// The integer under a key, whatever its width in the file.
    ///
    /// - Throws: `.format`, naming file and key, when the value is no integer or does not fit 63 bits.
    public func int(_ key: String) throws -> Int? { try value(key, as: "an integer of up to 63 bits", \.int) }

    /// The floating-point number under a key, of 32 or 64 bits in the file.
    ///
    /// - Throws: `.format`, naming file and key, when the value is no such number.
    public func double(_ key: String) throws -> Double? { try value(key, as: "a floating-point number", \.double) }

    /// The bool under a key.
    ///
    /// - Throws: `.format`, naming file and key, when the value is no bool.
    public func bool(_ key: String) throws -> Bool? {
        try value(key, as: "a bool") { if case .bool(let value) = $0 { value } else { nil } }
    }

    /// The strings under a key.
    ///
    /// - Throws: `.format`, naming file and key, when the value is no array of strings.
    public func strings(_ key: String) throws -> [String]? {
        try value(key, as: "an array of strings") { if case .strings(let value) = $0 { value } else { nil } }
    }

    /// The integers under a key, whatever their width in the file.
    ///
    /// - Throws: `.format`, naming file and key, when the value is no array of integers or one does not fit 63 bits.
    public func ints(_ key: String) throws -> [Int]? {
        try value(key, as: "an array of integers of up to 63 bits", \.ints)
    }

    /// The floating-point numbers under a key, of 32 or 64 bits in the file.
    ///
    /// - Throws: `.format`, naming file and key, when the value is no array of such numbers.
    public func doubles(_ key: String) throws -> [Double]? {
        try value(key, as: "an array of floating-point numbers", \.doubles)
    }

    private func value<T>(_ key: String, as wanted: String, _ read: (GGUFValue) -> T?) throws -> T? {
        guard let value = metadata[key] else { return nil }
        guard let result = read(value) else {
            throw LyraError(.format, "\(path): key \(shown(key)) should be \(wanted), but is \(value.kind)")
        }
        return result
    }
}
