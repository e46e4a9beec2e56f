import LyraBase
import LyraFormats
import LyraTensor

/// Reads recordings that data files name, to train a codebook on or to encode as speech units.
package struct UnitData {
    /// The key of an example's recording.
    package var key: String
    /// The folder that relative paths start from; nil for the data file's own.
    package var root: String?
    package var frames: SpeechFrames
    /// The largest share of bad examples, 0…1.
    package var badShare: Double
    /// Receives the reason for each bad example.
    package var note: (String) -> Void

    package init(
        key: String, root: String?, frames: SpeechFrames, badShare: Double, note: @escaping (String) -> Void
    ) {
        (self.key, self.root, self.frames, self.badShare, self.note) = (key, root, frames, badShare, note)
    }

    /// The key of units.
    package static let unitKey = "tgt_unit"

    package struct Summary: Equatable {
        /// Examples whose recordings were used, those without the key, and bad ones.
        package var used = 0, without = 0, bad = 0
        /// Frames of 20 ms, and units after the reduction.
        package var frames = 0, units = 0
    }

    private func file(_ stated: String, in data: String) -> String {
        MediaPaths.file(stated, root: root ?? FileSystem.parent(of: data))
    }

    /// How many examples of the files have the key.
    ///
    /// - Throws: `LyraError.missing` if none has it, which names the keys that there are.
    package func count(_ files: [String], check: () throws -> Void) throws -> Int {
        var count = 0, all = 0
        var keys: [String] = []
        for file in files {
            try ExampleReader(path: file).forEach { item in
                if all % 1024 == 0 { try check() }
                if all == 0 { keys = try item.keys() }
                all += 1
                if try item.texts(key) != nil { count += 1 }
            }
        }
        guard count > 0 else {
            throw LyraError(
                .missing,
                "\(files.joined(separator: ", ")): no example has the key \(shown(key)), which names a recording; "
                    + "the first example has \(keys.prefix(16).map { shown($0) }.joined(separator: ", "))")
        }
        return count
    }

    /// A random choice of the frames of all recordings.
    ///
    /// - Parameters:
    ///   - limit: frames to choose at most
    ///   - progress: receives how many examples are read; throws to stop
    package func sample(
        _ files: [String], of total: Int, limit: Int, seed: UInt64, progress: (Int) throws -> Void
    ) throws -> (sample: FrameSample, summary: Summary) {
        var sample = FrameSample(limit: limit, seed: seed)
        var summary = Summary()
        var bad = BadExamples(allowing: badShare, of: total, note: note)
        for file in files {
            try ExampleReader(path: file).forEach { item in
                guard let paths = try item.texts(key) else { return summary.without += 1 }
                do {
                    try sample.addRecording { sample in
                        for path in paths {
                            try frames.forEachWindow(
                                of: self.file(path, in: file), check: { try progress(summary.used) }
                            ) { try sample.add($0) }
                        }
                    }
                    summary.used += 1
                } catch let error as LyraError where BadExamples.isOfFile(error) {
                    try bad.add("\(item.place): \(error.message)")
                }
            }
        }
        (summary.frames, summary.bad) = (sample.seen, bad.count)
        return (sample, summary)
    }

    /// Writes the examples of a file with the units of their recordings. An example without the key stays as it is; one
    /// whose recording is bad is left out.
    ///
    /// - Parameters:
    ///   - reduces: whether a run of the same unit becomes one
    ///   - total: examples with the key
    ///   - progress: receives how many examples are encoded; throws to stop
    package func encode(
        _ file: String, _ codebook: Codebook, reduces: Bool, to writer: ExampleWriter, of total: Int,
        progress: (Int) throws -> Void
    ) throws -> Summary {
        var summary = Summary()
        var bad = BadExamples(allowing: badShare, of: total, note: note)
        try ExampleReader(path: file).forEach { item in
            guard let paths = try item.texts(key) else {
                summary.without += 1
                return try writer.append(item.line)
            }
            var units: [Int32] = []
            do {
                guard paths.count == 1 else {
                    throw LyraError(.format, "the key \(shown(key)) has \(paths.count) recordings; units are of one")
                }
                try frames.forEachWindow(
                    of: self.file(paths[0], in: file), check: { try progress(summary.used) }
                ) { units += try codebook.units(of: $0) }
            } catch let error as LyraError where BadExamples.isOfFile(error) {
                return try bad.add("\(item.place): \(error.message)")
            }
            let stated = reduces ? UnitText.reduced(units) : units
            try writer.append(item.setting(Self.unitKey, to: UnitText.text(stated)))
            summary.used += 1
            summary.frames += units.count
            summary.units += stated.count
        }
        summary.bad = bad.count
        return summary
    }
}
