import LyraBase
import LyraDatasets
import LyraFormats
import LyraModel

/// Fingerprints of what a run depends on. Reading all of a large model or data set would take minutes, so they cover
/// sizes and shapes, and samples of the bytes; of small files all bytes.
extension RunIdentity {
    /// Identifies the parameters of a checkpoint: call it before they change.
    ///
    /// - Parameters:
    ///   - adapter: the one that the run uses; others do not count
    ///   - usesVocoder: whether the vocoder counts, which is then one of the towers
    mutating func add(_ checkpoint: Checkpoint, adapter: Int?, usesVocoder: Bool = false) throws {
        let language = checkpoint.configuration.language
        var main = CRC32(), own = CRC32(), towers = CRC32()
        main.update("\(language) \(checkpoint.configuration.alignmentTemperature)")
        for (part, parameters) in checkpoint.parameters {
            switch part {
            case .main: try Self.add(parameters, to: &main)
            case .adapter(let index), .adapterProjector(let index):
                if index == adapter { try Self.add(parameters, to: &own) }
            case .speechTower, .visionTower, .soundTower, .soundProjector: try Self.add(parameters, to: &towers)
            case .vocoder: if usesVocoder { try Self.add(parameters, to: &towers) }
            }
        }
        if let adapter {
            for (module, scale) in checkpoint.decoder.updates(of: adapter) { own.update("\(module) \(scale)") }
        }
        model = Self.text(main)
        self.adapter = Self.text(own)
        self.towers = Self.text(towers)
    }

    /// Identifies heads.
    mutating func add(_ heads: [LabelHead]) throws {
        var sum = CRC32()
        for parameter in heads.flatMap(\.parameters) {
            sum.update("\(parameter.name) \(parameter.shape);")
            parameter.withValues {
                Self.add(UnsafeRawBufferPointer(start: $0, count: parameter.count * 4), pieces: 16, of: 64, to: &sum)
            }
        }
        self.heads = heads.isEmpty ? "" : Self.text(sum)
    }

    private static func text(_ sum: CRC32) -> String { String(sum.value, radix: 16) }

    private static func add(_ parameters: [Parameter], to sum: inout CRC32) throws {
        for parameter in parameters {
            sum.update("\(parameter.path) \(parameter.shape);")
            switch parameter.value {
            case .weight(let weight): weight.sample { sum.update($0) }
            case .tensor(let tensor):
                try tensor.withValues { values in
                    add(UnsafeRawBufferPointer(start: values, count: tensor.count * 4), pieces: 16, of: 64, to: &sum)
                }
            case .stored(let stored): add(stored.bytes, pieces: 16, of: 64, to: &sum)
            }
        }
    }

    /// Adds pieces of a memory that are spread over all of it; everything if it is short.
    private static func add(
        _ bytes: UnsafeRawBufferPointer, pieces: Int, of length: Int, to sum: inout CRC32
    ) {
        for start in stride(from: 0, to: bytes.count, by: max(length, bytes.count / pieces)) {
            sum.update(UnsafeRawBufferPointer(rebasing: bytes[start..<min(start + length, bytes.count)]))
        }
    }

    /// Identifies files of examples.
    ///
    /// - Throws: `LyraError` if a file cannot be read.
    static func fingerprint(files: [String]) throws -> String {
        var sum = CRC32(), total = 0
        for path in files {
            let file = try MappedFile(path: path), size = file.bytes.count
            total = total.saturatingAdding(size)
            sum.update("\(size);")
            withExtendedLifetime(file) { add(file.bytes, pieces: 256, of: 4096, to: &sum) }
        }
        return "\(total)-" + text(sum)
    }
}

extension DatasetExamples {
    /// From how many examples `mediaFingerprint` reads media files.
    private static var fingerprintExamples: Int { 64 }

    /// Identifies the media of some examples, spread over the data: by the size and the beginning of each file. A file
    /// that is missing counts as such.
    var mediaFingerprint: String {
        let count = files.reduce(0) { $0.saturatingAdding($1.count) }
        var sum = CRC32()
        for number in stride(from: 0, to: count, by: max(1, count / Self.fingerprintExamples)) {
            guard let item = try? item(number) else { continue }
            for path in item.images + item.videos + item.speech + item.longSpeech + item.targetSpeech {
                guard let reader = try? FileByteReader(regularFile: path), let size = try? reader.size,
                    let start = try? reader.peek(0, Int(min(size, 4096)), name: path)
                else {
                    sum.update("\(number) missing;")
                    continue
                }
                sum.update("\(number) \(size);")
                start.withUnsafeBytes { sum.update($0) }
            }
        }
        return String(sum.value, radix: 16)
    }
}
