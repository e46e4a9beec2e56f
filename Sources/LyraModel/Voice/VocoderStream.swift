import LyraBase

/// One utterance on its way through a vocoder: units are appended as they become known, and waveform is taken in pieces
/// of bounded work as soon as it is final.
///
/// The waveform is the same, bit for bit, however units and pieces are cut. Memory does not grow with the utterance,
/// apart from units that were appended and not yet synthesised. For one thread at a time.
public final class VocoderStream {
    /// Frames of a piece: half a second of the published vocoder's speech, at which its kernels run whole tiles.
    public static let defaultFrames = 24

    private let vocoder: Vocoder
    private let framesPerPiece: Int
    private var durations: StreamedDurations?
    private var generator: StreamedGenerator?
    /// Units not yet seen by the duration predictor, from `nextUnit` on.
    private let units = GrowingBuffer<Int32>()
    private var nextUnit = 0
    /// Decided units whose frames are not yet synthesised.
    private var runs: [FrameRun] = []
    private var isFinished = false
    private var durationsEnded = false
    private var samplesEnded = false

    /// Frames of each unit whose duration was decided during the last call of `produce`, in order.
    public private(set) var decidedFrames: [Int] = []

    /// Allocates nothing yet.
    ///
    /// - Parameter framesPerPiece: Most frames that one call of `produce` takes, 1 to 64: less is sooner, more is faster.
    public init(_ vocoder: Vocoder, framesPerPiece: Int = VocoderStream.defaultFrames) {
        self.vocoder = vocoder
        self.framesPerPiece = min(max(framesPerPiece, 1), 64)
    }

    /// Whether a call of `produce` would get further: units or frames wait, or the end does.
    public var hasWork: Bool {
        nextUnit < units.count || !runs.isEmpty || (isFinished && !samplesEnded)
    }

    /// Adds units to the end.
    ///
    /// - Throws: `LyraError.argument` for a unit that the vocoder does not know, `.memory` if there is no room, `.state`
    ///   after `finish`; then none is added.
    public func append(_ units: [Int32]) throws {
        guard !isFinished else { throw LyraError(.state, "units were appended to an utterance after its end") }
        let known = 0..<Int32(vocoder.configuration.numEmbeddings)
        if let unknown = units.first(where: { !known.contains($0) }) {
            throw LyraError(.argument, "speech unit \(unknown) is not one of the vocoder's \(known.upperBound)")
        }
        try self.units.append(units)
    }

    /// Says that no unit follows.
    public func finish() { isFinished = true }

    /// Does one piece of work.
    ///
    /// - Parameter samples: those in -1…1 that follow those of earlier calls are appended to it; none while the units that
    ///   were appended do not suffice for one.
    /// - Throws: `LyraError.memory`; the utterance cannot be continued then.
    public func produce(into samples: GrowingBuffer<Float>) throws {
        decidedFrames.removeAll(keepingCapacity: true)
        try decideDurations()
        let frames = takeFrames()
        let isLast = frames.isEmpty && isFinished
        guard !frames.isEmpty || isLast && !samplesEnded else { return }
        if !frames.isEmpty && generator == nil { generator = try StreamedGenerator(vocoder) }
        if let made = try generator?.push(frames, isLast: isLast) { try samples.append(made) }
        if isLast {
            samplesEnded = true
            (generator, durations) = (nil, nil)
        }
    }

    /// Feeds the duration predictor until a piece's frames are decided. A unit has at least one frame.
    private func decideDurations() throws {
        var waiting = runs.reduce(0) { $0 + $1.frames }
        while waiting < framesPerPiece {
            let piece = units[nextUnit..<min(units.count, nextUnit + framesPerPiece - waiting)]
            let isLast = isFinished && nextUnit + piece.count == units.count
            guard !piece.isEmpty || (isLast && !durationsEnded && durations != nil) else { break }
            if durations == nil { durations = try StreamedDurations(vocoder) }
            let decided = try durations?.push(piece, isLast: isLast) ?? []
            if isLast { durationsEnded = true }
            nextUnit += piece.count
            runs += decided
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
        while frames.count < framesPerPiece, let run = runs.first {
            let count = min(framesPerPiece - frames.count, run.frames)
            frames += [Int32](repeating: run.unit, count: count)
            if count == run.frames { runs.removeFirst() } else { runs[0].frames -= count }
        }
        return frames
    }
}
