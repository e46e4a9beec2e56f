import LyraBase
import LyraTensor

/// SpecAugment (arXiv 1904.08779): hides stretches of time and bands of frequency in mel features. A hidden value
/// becomes the mean of the features.
struct SpectrumMasking: Sendable, Equatable {
    var timeMasks = 0
    /// The most frames of a mask.
    var timeWidth = 0
    var frequencyMasks = 0
    /// The most mels of a mask.
    var frequencyWidth = 0

    /// - Parameters:
    ///   - mel: [mels, frames]
    ///   - frames: those that masks of time begin in
    func callAsFunction(_ mel: Tensor, frames: Int, random: SplitMix64) throws -> Tensor {
        var random = random
        /// A mask's width is uniform in 0...widest, its place uniform in what is left.
        func masks(_ count: Int, widest: Int, of length: Int) -> [Range<Int>] {
            (0..<count).map { _ in
                let width = Int(random.next(below: UInt64(min(widest, length)) + 1))
                let start = Int(random.next(below: UInt64(length - width) + 1))
                return start..<start + width
            }
        }
        let (bands, columns) = (mel.rows, mel.columns)
        let times = masks(timeMasks, widest: timeWidth, of: min(max(frames, 0), columns))
        let frequencies = masks(frequencyMasks, widest: frequencyWidth, of: bands)
        return try mel.withValues { values in
            let sum = (0..<mel.count).reduce(0.0) { $0 + Double(values[$1]) }
            let mean = Float(sum / Double(max(mel.count, 1)))
            return try Tensor(mel.shape) { out in
                out.update(from: values, count: mel.count)
                for band in 0..<bands {
                    let row = out + band * columns
                    let isHidden = frequencies.contains { $0.contains(band) }
                    if isHidden { row.update(repeating: mean, count: columns) }
                    for time in times { (row + time.lowerBound).update(repeating: mean, count: time.count) }
                }
            }
        }
    }
}
