import ArgumentParser
import Lyra
import LyraBase
import LyraModel
import LyraTensor

/// `--extractor`: "off", "blocks=4,keep=0.7", or "gap=7,keep=0.7" for blocks of 7 layers.
struct ExtractorOption {
    let choice: SessionOptions.ExtractorChoice
    /// As it was given.
    let argument: String

    /// - Throws: `ValidationError` with the reason.
    init(_ argument: String) throws {
        self.argument = argument
        let unknown = ValidationError("it can be blocks=4,keep=0.7, gap=7,keep=0.7 or off, with other numbers too")
        if argument == "off" {
            choice = .off
            return
        }
        var blocks: Int?, gap: Int?, keep: Float?
        for part in argument.split(separator: ",", omittingEmptySubsequences: false) {
            let pair = part.split(separator: "=", maxSplits: 1).map(String.init)
            switch (pair.first, pair.last) {
            case ("blocks", let value?) where pair.count == 2 && blocks == nil: blocks = Int(value) ?? 0
            case ("gap", let value?) where pair.count == 2 && gap == nil: gap = Int(value) ?? 0
            case ("keep", let value?) where pair.count == 2 && keep == nil: keep = Float(value) ?? 0
            default: throw unknown
            }
        }
        guard let keep, (blocks == nil) != (gap == nil) else { throw unknown }
        do {
            choice = .on(
                try blocks.map { try Extractor(blocks: $0, keep: keep) } ?? Extractor(gap: gap ?? 0, keep: keep))
        } catch let error as LyraError {
            throw ValidationError(error.message)
        }
    }
}

extension KeyValueType: ExpressibleByArgument {}

/// A number of bytes, optionally with K, M or G for 1024, 1024² or 1024³.
struct ByteCount: ExpressibleByArgument {
    let bytes: Int

    init?(argument: String) {
        let shifts: [Character: Int] = ["K": 10, "M": 20, "G": 30]
        let shift = argument.last.flatMap { shifts[Character($0.uppercased())] }
        let digits = shift == nil ? Substring(argument) : argument.dropLast()
        guard let number = Int(digits), number > 0 else { return nil }
        guard let bytes = number.checkedMultiplying(by: 1 << (shift ?? 0)) else { return nil }
        self.bytes = bytes
    }
}
