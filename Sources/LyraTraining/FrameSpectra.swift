import Glibc
import LyraBase
import LyraMedia
import LyraTensor

/// The short-time Fourier transform of two waveforms, and its adjoint, which takes gradients from spectra back to
/// samples. Only a few frames exist at a time. Equal frames have equal spectra to the last bit, so that losses between
/// equal waveforms are 0.
///
/// The numbers are those of torch.stft over a waveform that is padded by reflection at both ends: a periodic Hann
/// window, centred in the transform.
struct FrameSpectra: Sendable {
    typealias Lanes = FourierTransform.Lanes
    typealias Signal = FourierTransform.Signal

    let hopLength: Int
    /// Samples of reflection at each end.
    let padding: Int
    /// Frequencies from 0 to half the sample rate.
    let bins: Int
    /// [fftLength], 0 outside of the window
    private let window: GrowingBuffer<Double>
    private let transform: FourierTransform

    /// - Throws: `LyraError.memory` if there is no room for its tables.
    init(_ configuration: SpectrumConfiguration, padding: Int) throws {
        (hopLength, self.padding, bins) = (configuration.hopLength, padding, configuration.fftLength / 2 + 1)
        let length = configuration.windowLength, before = (configuration.fftLength - length) / 2
        window = try GrowingBuffer(repeating: 0, count: configuration.fftLength)
        for index in 0..<length {
            window[before + index] = 0.5 - 0.5 * cos(2 * Double.pi * Double(index) / Double(length))
        }
        transform = try FourierTransform(count: configuration.fftLength)
    }

    /// Frames of a waveform.
    ///
    /// - Throws: `LyraError.argument` if it is too short for the reflection or for one frame.
    func frameCount(samples: Int) throws -> Int {
        let room = samples + 2 * padding - transform.count
        guard samples > padding, room >= 0 else {
            throw LyraError(
                .argument,
                "spectrum: \(samples) samples are too few for frames of \(transform.count) with \(padding) reflected "
                    + "samples at each end")
        }
        return 1 + room / hopLength
    }

    /// The spectra of a few neighbouring frames, one in each lane. Each signal has `bins` values.
    struct Group {
        /// Lanes that hold a frame.
        let frames: Int
        let generated: Signal
        let target: Signal
        /// The gradient with respect to the real and imaginary parts of `generated`; 0 before it is written.
        let gradient: Signal
    }

    /// Calls `body` for all frames in groups.
    ///
    /// - Parameters:
    ///   - generated, target: waveforms of `samples` samples; `frameCount(samples:)` has accepted them
    ///   - gradient: if present, what `body` writes as gradient of the spectra is added here, as gradient of the
    ///     generated samples: [samples]
    /// - Throws: `LyraError.memory` if there is no room, `.state` if interrupted.
    func forEachGroup(
        _ generated: UnsafePointer<Float>, _ target: UnsafePointer<Float>, samples: Int,
        addingTo gradient: GrowingBuffer<Double>?, _ body: (Group) -> Void
    ) throws {
        let length = transform.count
        let memory = try FourierTransform.Workspace(4 * length + 6 * bins), room = memory.base
        defer { withExtendedLifetime(memory) {} }
        let signal = Signal(re: room, im: room + length)
        let scratch = Signal(re: room + 2 * length, im: room + 3 * length)
        // In each the imaginary parts follow the real ones.
        let parts = (0..<3).map { part -> Signal in
            let start = room + 4 * length + 2 * part * bins
            return Signal(re: start, im: start + bins)
        }
        let count = try frameCount(samples: samples)
        for first in stride(from: 0, to: count, by: Lanes.scalarCount) {
            try Interruption.check()
            let frames = first..<min(first + Lanes.scalarCount, count)
            let group = Group(frames: frames.count, generated: parts[0], target: parts[1], gradient: parts[2])
            for (waveform, spectrum) in [(generated, group.generated), (target, group.target)] {
                load(waveform, frames, samples, into: signal)
                copyBins(of: transform.transform(signal, scratch: scratch), to: spectrum)
            }
            group.gradient.re.update(repeating: Lanes(), count: 2 * bins)
            body(group)
            guard let gradient else { continue }
            conjugate(group.gradient, into: signal)
            add(transform.transform(signal, scratch: scratch).re, frames, samples, to: gradient.elements)
        }
    }

    /// Runs `body` with each sample's index in a frame and in the waveform.
    private func forEachSample(of frame: Int, samples: Int, _ body: (_ index: Int, _ place: Int) -> Void) {
        let start = frame * hopLength - padding, last = samples - 1
        for index in 0..<transform.count {
            let place = start + index
            body(index, place < 0 ? -place : place > last ? 2 * last - place : place)
        }
    }

    /// Windows frames into the lanes of a real signal.
    private func load(_ waveform: UnsafePointer<Float>, _ frames: Range<Int>, _ samples: Int, into signal: Signal) {
        let values = UnsafeMutableRawPointer(signal.re).assumingMemoryBound(to: Double.self)
        let lanes = Lanes.scalarCount, window = window.elements
        signal.re.update(repeating: Lanes(), count: transform.count)
        signal.im.update(repeating: Lanes(), count: transform.count)
        for (lane, frame) in frames.enumerated() {
            forEachSample(of: frame, samples: samples) { index, place in
                values[index * lanes + lane] = Double(waveform[place]) * window[index]
            }
        }
    }

    private func copyBins(of spectrum: Signal, to bins: Signal) {
        bins.re.update(from: spectrum.re, count: self.bins)
        bins.im.update(from: spectrum.im, count: self.bins)
    }

    /// The adjoint's input. With X[k] = Σ x[n] e^(−iθkn) and G = ∂L/∂Re X + i ∂L/∂Im X, ∂L/∂x[n] is Re Σ G[k] e^(iθkn),
    /// the real part of the transform of G's conjugate.
    private func conjugate(_ gradient: Signal, into signal: Signal) {
        signal.re.update(repeating: Lanes(), count: transform.count)
        signal.im.update(repeating: Lanes(), count: transform.count)
        for bin in 0..<bins { (signal.re[bin], signal.im[bin]) = (gradient.re[bin], -gradient.im[bin]) }
    }

    /// Adds the gradients of frames to those of the samples that they came from.
    private func add(
        _ part: UnsafeMutablePointer<Lanes>, _ frames: Range<Int>, _ samples: Int,
        to gradient: UnsafeMutableBufferPointer<Double>
    ) {
        let values = UnsafeMutableRawPointer(part).assumingMemoryBound(to: Double.self)
        let lanes = Lanes.scalarCount, window = window.elements
        for (lane, frame) in frames.enumerated() {
            forEachSample(of: frame, samples: samples) { index, place in
                gradient[place] += values[index * lanes + lane] * window[index]
            }
        }
    }
}
