import Foundation
import Testing

@testable import LyraMedia

private func append(_ samples: [Float], to queue: PCMQueue, sampleRate: Int = 44_100, channels: Int = 1) throws {
    try samples.withUnsafeBufferPointer { try queue.append($0, sampleRate: sampleRate, channels: channels) }
}

@Suite struct MonoAudioStreamTests {
    @Test func readingInAnyPiecesGivesTheSameBits() throws {
        let bytes = floatWAV(noise(60_000, seed: 41), sampleRate: 44_100)
        func read(_ piece: Int) throws -> [UInt32] {
            let stream = try MonoAudioStream(try SndfileDecoder(bytes: bytes), sampleRate: 16_000)
            return try readAll(stream, piece: piece).map(\.bitPattern)
        }
        let whole = try read(100_000)
        #expect(whole.count == (60_000 * 16_000 + 44_099) / 44_100)
        for piece in [1, 160, 9_999] { #expect(try read(piece) == whole) }
    }

    @Test func appendedPCMEqualsTheSameFile() throws {
        let samples = noise(200_000, seed: 42)
        let file = try MonoAudioStream(
            try SndfileDecoder(bytes: floatWAV(samples, sampleRate: 44_100, channels: 2)), sampleRate: 16_000)
        let queue = try PCMQueue(sampleRate: 44_100, channels: 2)
        let stream = try MonoAudioStream(queue, sampleRate: 16_000)
        var read: [Float] = []
        for start in stride(from: 0, to: samples.count, by: 33_334) {
            try append(Array(samples[start..<min(start + 33_334, samples.count)]), to: queue, channels: 2)
            read += try readAll(stream, piece: 777)
            #expect(!stream.isAtEnd)
        }
        queue.finish()
        read += try readAll(stream, piece: 777)
        #expect(stream.isAtEnd)
        #expect(stream.samplesRead == Int64(read.count))
        #expect(try read.map(\.bitPattern) == readAll(file).map(\.bitPattern))
    }

    @Test func aRecordingOfWindowLengthFillsTheWindowAndThenEnds() throws {
        let stream = try MonoAudioStream(
            try SndfileDecoder(bytes: floatWAV(noise(480, seed: 43))), sampleRate: 16_000)
        var window = [Float](repeating: 0, count: 480)
        #expect(try window.withUnsafeMutableBufferPointer { try stream.read(into: $0) } == 480)
        #expect(try window.withUnsafeMutableBufferPointer { try stream.read(into: $0) } == 0)
        #expect(stream.isAtEnd)
    }

    @Test func anEmptyQueueGivesNoSamples() throws {
        let stream = try MonoAudioStream(
            try SndfileDecoder(bytes: floatWAV([], sampleRate: 8_000)), sampleRate: 16_000)
        #expect(try readAll(stream).isEmpty)
        let queue = try PCMQueue(sampleRate: 8_000, channels: 2)
        try append([], to: queue, sampleRate: 8_000, channels: 2)
        queue.finish()
        #expect(try readAll(try MonoAudioStream(queue, sampleRate: 16_000)).isEmpty)
    }

    @Test func invalidAppendsAreErrorsAndLeaveTheQueueUnchanged() throws {
        let queue = try PCMQueue(sampleRate: 16_000, channels: 2)
        try append([0.5, 0.25], to: queue, sampleRate: 16_000, channels: 2)
        #expect(try lyraError { try append([1, 2], to: queue, sampleRate: 8_000, channels: 2) }?.code == .argument)
        #expect(try lyraError { try append([1, 2], to: queue, sampleRate: 16_000, channels: 1) }?.code == .argument)
        #expect(try lyraError { try append([1, 2, 3], to: queue, sampleRate: 16_000, channels: 2) }?.code == .argument)
        for bad in [Float.nan, .infinity] {
            let error = try #require(
                try lyraError { try append([0, 0, 0, bad], to: queue, sampleRate: 16_000, channels: 2) })
            #expect(error.code == .argument)
            #expect(error.message.contains("sample 2 of channel 1"))
        }
        queue.finish()
        #expect(try lyraError { try append([0, 0], to: queue, sampleRate: 16_000, channels: 2) }?.code == .state)
        #expect(try readAll(queue) == [0.375])
        for (rate, channels) in [(0, 1), (-5, 1), (1_000_001, 1), (16_000, 0), (16_000, 1_025), (.max, .min)] {
            #expect(try lyraError { _ = try PCMQueue(sampleRate: rate, channels: channels) }?.code == .argument)
        }
    }
}
