import LyraBase
import LyraFormats
import LyraMedia
import LyraTensor
import TestSupport
import Testing

@testable import LyraData

/// Frames of fixture b's speech tower and of log-mels, against the golden features and encoder outputs.
@Suite struct SpeechFrameTests {
    private struct Golden: GoldenFixture { let name: String }

    private static let whisper = Golden.path("b/model_zoo/audio/whisper-tiny")
    /// The fixtures keep every 16th frame and row.
    private static let stride = 16

    private let golden = Golden(name: "b")

    private func everyRow(_ tensor: Tensor) -> [Float] {
        Swift.stride(from: 0, to: tensor.rows, by: Self.stride).flatMap { tensor.rows($0..<$0 + 1).values }
    }

    /// The recording of the golden case as a WAV file.
    private func recording(_ folder: borrowing TemporaryFolder) throws -> String {
        let samples = try golden.shortRecording
        func bytes<T>(_ value: T) -> [UInt8] { withUnsafeBytes(of: value) { Array($0) } }
        let data = samples.flatMap { bytes($0) }
        let format =
            bytes(UInt16(3)) + bytes(UInt16(1)) + bytes(UInt32(16000)) + bytes(UInt32(64000))
            + bytes(UInt16(4)) + bytes(UInt16(32))
        let chunks =
            Array("WAVEfmt ".utf8) + bytes(UInt32(16)) + format + Array("data".utf8)
            + bytes(UInt32(data.count)) + data
        return try folder.file("short.wav", Array("RIFF".utf8) + bytes(UInt32(chunks.count)) + chunks)
    }

    private func frames(_ frames: SpeechFrames, _ path: String) throws -> Tensor {
        var all: [Tensor] = []
        try frames.forEachWindow(of: path, check: {}) { all.append($0) }
        return try Tensor.stacking(all)
    }

    private func worst(_ got: [Float], _ want: [Float]) -> Float {
        got.count == want.count ? zip(got, want).map { abs($0 - $1) }.max() ?? 0 : .infinity
    }

    /// Encoder outputs agree to 1e-4 with the oracle's.
    @Test func theLastLayerIsTheEncodersOutput() throws {
        let folder = try TemporaryFolder()
        let path = try recording(folder)
        let tower = try SpeechFrames.tower(Self.whisper, layer: nil, check: {})
        let got = try frames(tower, path)
        #expect(tower.kind == .tower(layer: 3) && got.shape == [350, 32])
        let want = try golden.stored("speech_short", "out.encoder").values().rows(0..<22).values
        #expect(worst(everyRow(got), want) < 1e-4)
        let second = try frames(.tower(Self.whisper, layer: 2, check: {}), path)
        #expect(worst(everyRow(second), want) > 0.01)
        for layer in [-1, 4] {
            #expect(throws: LyraError.self) {
                try SpeechFrames.tower(Self.whisper, layer: layer, check: {})
            }
        }
    }

    /// A checkpoint whose tower is inside, and one that names a directory.
    @Test func aCheckpointsTowerIsFound() throws {
        #expect(try SpeechFrames.tower(Golden.path("a/lyra"), layer: nil, check: {}).width != nil)
        #expect(try SpeechFrames.tower(Golden.path("b/lyra"), layer: 0, check: {}).width == 32)
    }

    @Test func logMelsAreTwoColumnsSideBySide() throws {
        let folder = try TemporaryFolder()
        let got = try frames(.logMels(bands: 80), recording(folder))
        let want = try golden.stored("speech_short", "out.mel").values()
        // Every 16th column of 10 ms is the left half of every 8th frame.
        for (kept, mel) in [(0, 0), (3, 17), (20, 40), (43, 79)] {
            #expect(abs(got[kept * 8 * 160 + mel] - want[mel * want.columns + kept]) < 1e-4)
        }
        // The right half of a frame is the next column, which the features themselves tell.
        let columns = try golden.shortRecording.withUnsafeBufferPointer {
            try LogMelSpectrogram(MelConfiguration())($0).transposed()
        }
        #expect(got.values == columns.rows(0..<700).values && got.shape == [350, 160])
    }
}
