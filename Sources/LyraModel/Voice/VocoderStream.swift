import LyraBase

/// One utterance of a vocoder: the caller appends units as they become known, and `produce` computes the samples that
/// are final, in steps of bounded work.
///
/// The waveform is bit-identical for any division into calls. Memory does not grow with the utterance,
/// except for appended units that are not synthesised yet. For one thread at a time.
public final class VocoderStream {
    /// Maximum frames of a piece: half a second of the published vocoder's speech, for which its kernels run full
    /// tiles.
    public static let defaultFrames = 24

    private let vocoder: Vocoder
    private let framesPerPiece: Int
    private var durations: StreamedDurations?
    private var waveform: StreamedWaveform?
    /// Units for the duration predictor, from `nextUnit` on.
    private let units = GrowingBuffer<Int32>()
    private var nextUnit = 0
    /// Units with known durations whose frames are not synthesised yet.
    private var timedUnits: [TimedUnit] = []
    private var isFinished = false
    private var durationsEnded = false
    private var samplesEnded = false

    /// Frames of each unit whose duration the last call of `produce` decided, in order.
    public private(set) var decidedFrames: [Int] = []

    /// Allocates nothing yet.
    ///
    /// - Parameter framesPerPiece: maximum frames for each call of `produce`, 1 to 64: fewer reduce latency, more
    ///   increase throughput
    public init(_ vocoder: Vocoder, framesPerPiece: Int = VocoderStream.defaultFrames) {
        self.vocoder = vocoder
        self.framesPerPiece = min(max(framesPerPiece, 1), 64)
    }

    /// Whether `produce` has work: waiting units or frames, or the end of the utterance.
    public var hasWork: Bool {
        nextUnit < units.count || !timedUnits.isEmpty || (isFinished && !samplesEnded)
    }

    /// Appends units.
    ///
    /// - Throws: `LyraError.argument` for a unit outside the vocoder's range, `.memory` if there is no room, `.state`
    ///   after `finish`; no unit is then appended.
    public func append(_ units: [Int32]) throws {
        guard !isFinished else { throw LyraError(.state, "units were appended to an utterance after its end") }
        let known = 0..<Int32(vocoder.configuration.numEmbeddings)
        if let unknown = units.first(where: { !known.contains($0) }) {
            throw LyraError(.argument, "speech unit \(unknown) is not one of the vocoder's \(known.upperBound)")
        }
        try self.units.append(units)
    }

    /// Marks the end of the utterance.
    public func finish() { isFinished = true }

    /// Does one step of work.
    ///
    /// - Parameter samples: receives the next samples in -1…1; none if the appended units are not sufficient
    /// - Throws: `LyraError.memory`; the utterance cannot be continued then.
    public func produce(into samples: GrowingBuffer<Float>) throws {
        decidedFrames.removeAll(keepingCapacity: true)
        try decideDurations()
        let frames = takeFrames()
        let isLast = frames.isEmpty && isFinished
        guard !frames.isEmpty || (isLast && !samplesEnded) else { return }
        if !frames.isEmpty && waveform == nil { waveform = try StreamedWaveform(vocoder) }
        if let made = try waveform?.push(frames, isLast: isLast) { try samples.append(made) }
        if isLast {
            samplesEnded = true
            (waveform, durations) = (nil, nil)
        }
    }

    /// Runs the duration predictor until a piece's frames are known. A unit has at least one frame.
    private func decideDurations() throws {
        var waiting = timedUnits.reduce(0) { $0 + $1.frames }
        while waiting < framesPerPiece {
            let new = units[nextUnit..<min(units.count, nextUnit + framesPerPiece - waiting)]
            let isLast = isFinished && nextUnit + new.count == units.count
            guard !new.isEmpty || (isLast && !durationsEnded && durations != nil) else { break }
            if durations == nil { durations = try StreamedDurations(vocoder) }
            let decided = try durations?.push(new, isLast: isLast) ?? []
            if isLast { durationsEnded = true }
            nextUnit += new.count
            timedUnits += decided
            decidedFrames += decided.map(\.frames)
            waiting += decided.reduce(0) { $0 + $1.frames }
        }
        if nextUnit == units.count || nextUnit >= 4096 {
            units.removeFirst(nextUnit)
            nextUnit = 0
        }
    }

    /// The units of the next frames, one for each frame.
    private func takeFrames() -> [Int32] {
        var frames: [Int32] = []
        while frames.count < framesPerPiece, let next = timedUnits.first {
            let count = min(framesPerPiece - frames.count, next.frames)
            frames += [Int32](repeating: next.unit, count: count)
            if count == next.frames { timedUnits.removeFirst() } else { timedUnits[0].frames -= count }
        }
        return frames
    }
}
