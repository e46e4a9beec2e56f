import LyraFormats

extension Checkpoint {
    /// Identifies this language model with its adapters: keys and values are only valid for the model that computed
    /// them.
    ///
    /// Covers the configuration, the shape of every matrix, and samples of its bytes, which also depend on the element
    /// type. Reading all of a large model would take seconds.
    public var fingerprint: String {
        var sum = CRC32()
        func add(_ text: String) { sum.update(text) }
        add("\(configuration.language)")
        add(adapters.joined(separator: ","))
        let language = sum.value
        decoder.forEachWeight { weight in
            add("\(weight.outputs)x\(weight.inputs)")
            weight.sample { sum.update($0) }
        }
        return hexadecimal(language) + hexadecimal(sum.value)
    }
}

private func hexadecimal(_ number: UInt32) -> String {
    let digits = String(number, radix: 16)
    return String(repeating: "0", count: 8 - digits.count) + digits
}
