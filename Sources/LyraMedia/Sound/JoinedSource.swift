import LyraBase

/// Consecutive recordings as one source. All are resampled to the sample rate of the first.
///
/// A recording is opened when the one before it has ended. Use the source from one thread at a time.
final class JoinedSource: SampleSource {
    let name: String
    let sampleRate: Int
    let length: SourceLength?
    private(set) var isAtEnd = false
    private(set) var omissions: [String] = []

    private let next: (_ omissions: inout [String]) throws -> (any SampleSource)?
    private var current: any SampleSource
    /// Resamples `current`; nil if `current` has the sample rate of the first recording.
    private var resampled: MonoAudioStream?
    private var failure: LyraError?

    /// - Parameters:
    ///   - length: The length of all recordings; nil if unknown.
    ///   - omissions: The omissions before the first recording (`SampleSource.omissions`).
    ///   - next: Opens the next recording; returns nil after the last. Adds an omission for each recording that it
    ///     skips.
    init(
        first: any SampleSource, length: SourceLength?, omissions: [String] = [],
        next: @escaping (_ omissions: inout [String]) throws -> (any SampleSource)?
    ) {
        (name, sampleRate, current) = (first.name, first.sampleRate, first)
        (self.length, self.omissions, self.next) = (length, omissions, next)
    }

    func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        if let failure { throw failure }
        var filled = 0
        do {
            while filled < buffer.count, !isAtEnd {
                let rest = UnsafeMutableBufferPointer(rebasing: buffer[filled...])
                filled += try resampled?.read(into: rest) ?? current.read(into: rest)
                if resampled?.isAtEnd ?? current.isAtEnd { try openNext() }
            }
        } catch let error as LyraError {
            failure = error
            throw error
        }
        return filled
    }

    private func openNext() throws {
        guard let source = try next(&omissions) else {
            isAtEnd = true
            return
        }
        current = source
        resampled = source.sampleRate == sampleRate ? nil : try MonoAudioStream(source, sampleRate: sampleRate)
    }
}

/// A decoder that can end before the file does, where the rest needs a new decoder.
protocol ContinuedSource: SampleSource {
    /// The decoder of the rest of the file; nil at the end of the file. Call it when this decoder is at its end.
    func continued() throws -> (any ContinuedSource)?
}

extension JoinedSource {
    /// A file that consecutive decoders decode.
    convenience init(_ first: any ContinuedSource) {
        var last = first
        self.init(first: first, length: first.length) { _ in
            guard let next = try last.continued() else { return nil }
            last = next
            return next
        }
    }
}
