import LyraBase

/// Recordings one after another, as one: those at another rate than the first are resampled to it.
///
/// The next recording is opened when the one before it has ended. It belongs to one thread at a time.
final class JoinedSource: SampleSource {
    let name: String
    let sampleRate: Int
    let length: SourceLength?
    private(set) var isAtEnd = false
    private(set) var omissions: [String] = []

    private let next: (_ omissions: inout [String]) throws -> (any SampleSource)?
    private var current: any SampleSource
    /// Resamples `current`, unless its rate is the first's.
    private var resampled: MonoAudioStream?
    private var failure: LyraError?

    /// - Parameters:
    ///   - length: Of all recordings, as far as it is known.
    ///   - omissions: What was left out before the first recording.
    ///   - next: Opens the next recording; nil after the last. It adds a sentence for each recording that it leaves
    ///     out.
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
                if resampled?.isAtEnd ?? current.isAtEnd { try moveOn() }
            }
        } catch let error as LyraError {
            failure = error
            throw error
        }
        return filled
    }

    private func moveOn() throws {
        guard let source = try next(&omissions) else {
            isAtEnd = true
            return
        }
        current = source
        resampled = source.sampleRate == sampleRate ? nil : try MonoAudioStream(source, sampleRate: sampleRate)
    }
}

/// A decoder that ends where what follows needs another.
protocol ContinuedSource: SampleSource {
    /// The decoder of what follows, once this one is at its end; nil at the end of the file.
    func continued() throws -> (any ContinuedSource)?
}

extension JoinedSource {
    /// A file of which one decoder after another gives the samples.
    convenience init(_ first: any ContinuedSource) {
        var last = first
        self.init(first: first, length: first.length) { _ in
            guard let next = try last.continued() else { return nil }
            last = next
            return next
        }
    }
}
