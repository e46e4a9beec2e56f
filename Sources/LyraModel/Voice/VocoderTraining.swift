import LyraBase
import LyraTensor

extension Vocoder {
    /// The waveform of units with given durations, with gradients for trained parameters: the layers of a stream, on
    /// the whole utterance at once. The duration predictor takes no part.
    ///
    /// - Parameters:
    ///   - units: speech units, in order
    ///   - frames: the number of frames of each unit, at least 1
    /// - Returns: samples in -1…1, [1, frames of all units · `samplesPerFrame`]
    /// - Throws: `LyraError.argument` without a unit, for a unit or a duration out of range, or if the counts differ;
    ///   `.memory`, `.io` and `.state` as operations throw them.
    package func waveform(units: [Int32], frames: [Int]) throws -> Tensor {
        guard !units.isEmpty, units.count == frames.count else {
            throw LyraError(.argument, "\(units.count) speech units with \(frames.count) durations")
        }
        let known = 0..<Int32(configuration.numEmbeddings)
        var rows: [Int32] = []
        for (unit, count) in zip(units, frames) {
            guard known.contains(unit), DurationPredictor.possible.contains(count) else {
                throw LyraError(
                    .argument,
                    "speech unit \(unit) lasts \(count) frames; units are below \(known.upperBound), and durations "
                        + "\(DurationPredictor.possible.lowerBound) to \(DurationPredictor.possible.upperBound)")
            }
            rows += [Int32](repeating: unit, count: count)
        }
        return try waveforms(ofFrames: [rows])[0]
    }

    /// The same for several utterances, from the unit of each frame.
    package func waveforms(ofFrames utterances: [[Int32]]) throws -> [Tensor] {
        let present = try current()
        return try utterances.map { rows in
            var stream = try StreamedWaveform(present)
            guard let samples = try stream.push(rows, isLast: true) else {
                throw LyraError(.argument, "the vocoder has no stage")
            }
            return samples
        }
    }

    /// What the duration predictor says of each unit, with gradients for trained parameters: log(1 + frames), [1,
    /// units]
    ///
    /// - Throws: `LyraError.argument` for a unit out of range; `.memory`, `.io` and `.state` as operations throw
    ///   them.
    package func logDurations(of units: [Int32]) throws -> Tensor {
        try durations.current().logDurations(embeddings.keepingRows(units))
    }

    /// Samples that a frame becomes.
    package var samplesPerFrame: Int { configuration.codeHopSize }

    /// The vocoder with the present values of its trained parameters.
    package func current() throws -> Vocoder {
        var copy = self
        copy.entry = try entry.current()
        copy.stages = try stages.map { try $0.current() }
        copy.exit = try exit.current()
        return copy
    }
}

extension Vocoder.Stage {
    fileprivate func current() throws -> Self {
        Self(
            upsampling: try upsampling.current(),
            residualBlocks: try residualBlocks.map { pairs in
                try pairs.map { Pair(first: try $0.first.current(), second: try $0.second.current()) }
            })
    }
}
