import LyraBase

/// How a waveform is cut into frames for a spectrum. Lengths are in samples.
public struct SpectrumConfiguration: Sendable, Equatable {
    /// Length of the Fourier transform.
    public let fftLength: Int
    /// From one frame to the next.
    public let hopLength: Int
    /// Length of the Hann window, centred in the transform.
    public let windowLength: Int

    private static let fftLengths = 2...65_536

    /// - Throws: `LyraError.argument` if a length is out of range.
    public init(fftLength: Int, hopLength: Int, windowLength: Int) throws {
        for (name, value, range) in [
            ("FFT", fftLength, Self.fftLengths), ("hop", hopLength, 1...Self.fftLengths.upperBound),
            ("window", windowLength, 2...max(fftLength, 2)),
        ] where !range.contains(value) {
            throw LyraError(
                .argument,
                "spectrum: the \(name) length is \(value); it must be \(range.lowerBound) to \(range.upperBound)")
        }
        (self.fftLength, self.hopLength, self.windowLength) = (fftLength, hopLength, windowLength)
    }
}
