import Foundation
import Testing

@testable import LyraMedia

/// Eight gliding tones for each channel. No two pieces are alike, so a shift by one sample is detected.
func glides(seconds: Double, rate: Int, channels: Int = 1, seed: UInt64) -> [Float] {
    var generator = SeededGenerator(state: seed)
    let tones = (0..<8 * channels).map { _ in
        (
            pitch: Double.random(in: 100...3000, using: &generator), phase: Double.random(in: 0...6, using: &generator),
            turn: Double.random(in: 1...5, using: &generator)
        )
    }
    return (0..<Int(seconds * Double(rate)) * channels).map { index in
        let time = Double(index / channels) / Double(rate)
        let sum = tones[index % channels * 8..<index % channels * 8 + 8].reduce(0.0) {
            $0 + sin(2 * .pi * $1.pitch * time + $1.phase + 30 * sin(time * $1.turn))
        }
        return Float(sum * 0.05)
    }
}

extension MediaMaker {
    /// Writes a WAV file of gliding tones.
    func glides(_ name: String, rate: Int, channels: Int = 1, seconds: Double = 1.3, seed: UInt64) throws {
        let samples = LyraMediaTests.glides(seconds: seconds, rate: rate, channels: channels, seed: seed)
        _ = try write(floatWAV(samples, sampleRate: rate, channels: channels), to: name)
    }

    /// Concatenates files, as `cat` does.
    func join(_ names: [String], to name: String, with between: [UInt8] = []) throws {
        _ = try write(Array(names.map { try bytes($0) }.joined(separator: between)), to: name)
    }

    /// What the ffmpeg command decodes from a file's first sound track, with its channels averaged.
    /// - Parameter rate: resamples to this rate
    func ffmpegSamples(_ name: String, channels: Int = 1, rate: Int? = nil) throws -> [Float] {
        try ffmpegSamples([(name, channels)], rate: rate)[0]
    }

    /// What the ffmpeg command decodes from several files.
    func ffmpegSamples(_ files: [(name: String, channels: Int)], rate: Int? = nil) throws -> [[Float]] {
        let resampling = rate.map { "-ar \($0)" } ?? ""
        let inputs = files.map { "-i \($0.name)" }
        let outputs = files.enumerated().map {
            "-map \($0.offset):a:0 -ac \($0.element.channels) \(resampling) -f f32le decoded\($0.offset).f32"
        }
        try ffmpeg((inputs + outputs).joined(separator: " "))
        return try files.enumerated().map { try mean(channels: $0.element.channels, of: "decoded\($0.offset).f32") }
    }

    private func mean(channels: Int, of name: String) throws -> [Float] {
        try bytes(name).withUnsafeBytes { raw in
            (0..<raw.count / 4 / channels).map { frame in
                let start = frame * channels * 4
                let sum = (0..<channels).reduce(Float(0)) {
                    $0 + raw.loadUnaligned(fromByteOffset: start + $1 * 4, as: Float.self)
                }
                return sum / Float(channels)
            }
        }
    }
}

/// Expects the same number of samples, which differ by less than `tolerance`.
///
/// - Parameter tolerance: 1e-4 by default. Decoders of lossy formats differ in the last bits of 16.
func expectSame(
    _ got: [Float], _ right: [Float], within tolerance: Float = 1e-4, _ what: String = "",
    at location: SourceLocation = #_sourceLocation
) {
    #expect(got.count == right.count, "\(what)", sourceLocation: location)
    #expect(!right.isEmpty && largestDifference(got, right) < tolerance, "\(what)", sourceLocation: location)
}

/// Expects the same number of samples, whose differences have less than 1 % of the sound's RMS. Two resamplers differ
/// near half of the lower rate, and at the ends of a piece.
func expectAlike(_ got: [Float], _ right: [Float], _ what: String = "", at location: SourceLocation = #_sourceLocation)
{
    #expect(got.count == right.count, "\(what)", sourceLocation: location)
    let difference = rootMeanSquare(zip(got, right).map { $0 - $1 })
    #expect(difference < 0.01 * rootMeanSquare(right), "\(what)", sourceLocation: location)
}

/// The bytes of a file of Tests/Fixtures/faults/audio.
func faultPath(_ name: String) -> String {
    URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "Fixtures/faults/audio/\(name)").path
}

func decodedSamples(_ path: String) throws -> [Float] { try readAll(AudioDecoder.open(path: path), piece: 1 << 16) }
