import Glibc
import LyraBase

/// Kaldi's log mel filter bank, as ImageBind uses it.
///
/// Frames of 25 ms every 10 ms; in each, the mean is subtracted; pre-emphasis of 0.97; a symmetric Hann window; the
/// power spectrum; triangular filters on the mel scale from 20 Hz up; the logarithm. Immutable, so threads may share
/// one.
public struct KaldiFilterBank: Sendable {
    /// Mel bands.
    public let bands: Int
    public let sampleRate: Int

    private typealias Lanes = FourierTransform.Lanes
    private static let fftLength = 512
    private static let emphasis = 0.97
    private static let lowest = 20.0
    /// The least power of a band: Float's epsilon.
    private static let floor = 1.1920928955078125e-07

    private let window: [Double]
    private let hop: Int
    private let transform: FourierTransform
    /// For each band, its first bin and the weights of its bins.
    private let triangles: [(first: Int, weights: [Double])]

    /// A filter bank for 16 kHz.
    ///
    /// - Throws: `LyraError(.memory)`.
    public init(bands: Int = 128) throws {
        let rate = 16_000
        (self.bands, sampleRate, hop) = (bands, rate, rate / 100)
        let length = rate * 25 / 1000
        transform = try FourierTransform(count: Self.fftLength)
        window = (0..<length).map { 0.5 - 0.5 * cos(2 * Double.pi * Double($0) / Double(length - 1)) }
        func mel(_ frequency: Double) -> Double { 1127 * log1p(frequency / 700) }
        let low = mel(Self.lowest), step = (mel(Double(rate) / 2) - low) / Double(bands + 1)
        let bins = (0..<Self.fftLength / 2).map { mel(Double($0 * rate) / Double(Self.fftLength)) }
        triangles = (0..<bands).map { band in
            let (left, peak, right) = (
                low + step * Double(band), low + step * Double(band + 1), low + step * Double(band + 2)
            )
            let inside = bins.indices.filter { bins[$0] > left && bins[$0] < right }
            let weights = inside.map { min((bins[$0] - left) / (peak - left), (right - bins[$0]) / (right - peak)) }
            return (inside.first ?? 0, weights)
        }
    }

    /// The number of whole frames in `samples` samples.
    public func frameCount(samples: Int) -> Int {
        samples < window.count ? 0 : 1 + (samples - window.count) / hop
    }

    /// - Parameters:
    ///   - pcm: Samples at `sampleRate`.
    ///   - features: Resized to [frames, bands], row-major; empty for less than one frame.
    /// - Throws: `LyraError(.memory)`.
    public func callAsFunction(_ pcm: UnsafeBufferPointer<Float>, into features: GrowingBuffer<Float>) throws {
        let frames = frameCount(samples: pcm.count), length = Self.fftLength, lanes = Lanes.scalarCount
        try features.resize(to: frames * bands)
        let workspace = try FourierTransform.Workspace(4 * length), room = workspace.base
        let signal = FourierTransform.Signal(re: room, im: room + length)
        let scratch = FourierTransform.Signal(re: room + 2 * length, im: room + 3 * length)
        defer { withExtendedLifetime(workspace) {} }
        for first in stride(from: 0, to: frames, by: lanes) {
            room.update(repeating: Lanes(), count: 4 * length)
            let count = min(lanes, frames - first)
            for lane in 0..<count { load(pcm, from: (first + lane) * hop, lane: lane, into: signal.re) }
            let spectrum = transform.transform(signal, scratch: scratch)
            for (band, triangle) in triangles.enumerated() {
                var power = Lanes()
                for (offset, weight) in triangle.weights.enumerated() {
                    let (re, im) = (spectrum.re[triangle.first + offset], spectrum.im[triangle.first + offset])
                    power += (re * re + im * im) * weight
                }
                for lane in 0..<count {
                    features[(first + lane) * bands + band] = Float(log(max(power[lane], Self.floor)))
                }
            }
        }
    }

    /// Loads one frame into a lane: mean subtracted, pre-emphasized, windowed.
    private func load(
        _ pcm: UnsafeBufferPointer<Float>, from start: Int, lane: Int, into target: UnsafeMutablePointer<Lanes>
    ) {
        var sum = 0.0
        for i in 0..<window.count { sum += Double(pcm[start + i]) }
        let mean = sum / Double(window.count)
        // The first sample serves as its own predecessor.
        var before = Double(pcm[start]) - mean
        for i in 0..<window.count {
            let sample = Double(pcm[start + i]) - mean
            target[i][lane] = (sample - Self.emphasis * before) * window[i]
            before = sample
        }
    }
}
