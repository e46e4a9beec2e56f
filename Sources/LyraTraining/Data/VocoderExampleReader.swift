import LyraBase
import LyraDatasets
import LyraModel
import LyraTensor

/// Makes a vocoder's examples of items with the unit of each frame (`tgt_unit`) and the recording (`tgt_speech`).
struct VocoderExampleReader: ItemReading {
    let media: ExampleBuilder
    let vocoder: Vocoder
    /// Frames of an example; a shorter recording is an example as a whole.
    let crop: Int

    /// Frames by which a recording may be longer or shorter than its units: programs differ in how many frames they
    /// make at the ends.
    private static let tolerance = 3

    func estimatedLength(of item: DatasetItem) throws -> Int { min(item.units?.count ?? 0, crop) }

    /// A piece at a random place.
    ///
    /// - Throws: `LyraError.format` without units or with another number of recordings than one, or if the two do not
    ///   fit; and as an `ExampleBuilder`.
    func example(_ item: DatasetItem, random: SplitMix64) throws -> VocoderExample {
        guard let frames = item.units, !frames.isEmpty else {
            throw LyraError(.format, "there are no units (\"tgt_unit\"), which a vocoder learns from; add them")
        }
        if let most = media.options.maxLength, frames.count > most {
            throw LyraError(.memory, "there are \(frames.count) units, more than batch.longest, \(most)")
        }
        guard let path = item.targetSpeech.first, item.targetSpeech.count == 1 else {
            throw LyraError(
                .format,
                "\"tgt_speech\" lists \(item.targetSpeech.count) recordings; a vocoder learns from items with one")
        }
        let recording = try recording(path, frames: frames.count)
        var random = random
        let count = min(frames.count, crop), hop = vocoder.samplesPerFrame
        let first = Int(random.next(below: UInt64(frames.count - count + 1)))
        let runs = Self.runs(frames)
        return VocoderExample(
            frames: Array(frames[first..<first + count]),
            target: try Tensor([count * hop]) {
                for sample in 0..<count * hop { $0[sample] = recording[first * hop + sample] }
            },
            units: runs.map(\.unit), durations: runs.map(\.frames), origin: item.place)
    }

    /// The samples of all frames; silence after the last one that the recording has.
    private func recording(_ path: String, frames: Int) throws -> GrowingBuffer<Float> {
        guard let expected = frames.checkedMultiplying(by: vocoder.samplesPerFrame),
            let most = expected.checkedAdding(Self.tolerance * vocoder.samplesPerFrame + 1)
        else { throw LyraError(.format, "\(frames) units are too many") }
        let samples = try media.samples(path, sampleRate: vocoder.sampleRate, limit: most)
        guard samples.count < most, samples.count >= expected - Self.tolerance * vocoder.samplesPerFrame else {
            let present = samples.count < most ? "\(samples.count)" : "\(most) or more"
            throw LyraError(
                .format,
                "\(path): \(frames) units of \(vocoder.samplesPerFrame) samples are \(expected) samples at "
                    + "\(vocoder.sampleRate) Hz, but the recording has \(present); give one unit for each frame "
                    + "('lyra data units encode --keep-runs')")
        }
        let count = samples.count
        guard count < expected else { return samples }
        try samples.resize(to: expected)
        for index in count..<expected { samples[index] = 0 }
        return samples
    }

    /// Equal units in a row as one, with their number.
    static func runs(_ frames: [Int32]) -> [(unit: Int32, frames: Int)] {
        var runs: [(unit: Int32, frames: Int)] = []
        for unit in frames {
            if let last = runs.last, last.unit == unit {
                runs[runs.count - 1].frames += 1
            } else {
                runs.append((unit, 1))
            }
        }
        return runs
    }
}
