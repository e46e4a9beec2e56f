import LyraBase
import Testing

@testable import LyraModel

/// A waveform that is made in pieces, and how early its samples are final.
@Suite struct VocoderStreamTests {
    /// Appends `units` in pieces of the given lengths (the last length repeats), and reads what is final after each.
    private func speak(_ vocoder: Vocoder, _ units: [Int32], pieces: [Int], framesPerPiece: Int) throws -> [Float] {
        let stream = VocoderStream(vocoder, framesPerPiece: framesPerPiece)
        var samples: [Float] = []
        var (rest, index) = (units[...], 0)
        while !rest.isEmpty {
            try stream.append(Array(rest.prefix(pieces[min(index, pieces.count - 1)])))
            rest = rest.dropFirst(pieces[min(index, pieces.count - 1)])
            index += 1
            samples += try stream.drain().samples
        }
        stream.finish()
        return try samples + stream.drain().samples
    }

    @Test(arguments: ["a", "b"]) func anyPiecesMakeABitIdenticalWaveform(_ model: String) throws {
        let fixture = try VocoderFixture(model)
        let units = try fixture.units("vocoder")
        let whole = try fixture.vocoder.speak(units, framesPerPiece: 64).samples
        for framesPerPiece in [1, 3, 24] {
            #expect(try fixture.vocoder.speak(units, framesPerPiece: framesPerPiece).samples == whole)
        }
        #expect(try speak(fixture.vocoder, units, pieces: [1], framesPerPiece: 24) == whole)
        #expect(try speak(fixture.vocoder, units, pieces: [2, 1, 7, 3, 30, 1, 1, 5], framesPerPiece: 24) == whole)
        #expect(try speak(fixture.vocoder, units, pieces: [40, 1, 13], framesPerPiece: 5) == whole)
    }

    @Test func shortUtterancesAreComplete() throws {
        let vocoder = try VocoderFixture("b").vocoder
        for count in 1...6 {
            let units = (0..<Int32(count)).map { ($0 * 17 + 5) % 60 }
            let (samples, frames) = try vocoder.speak(units)
            #expect(frames.count == count)
            #expect(samples.count == frames.reduce(0, +) * 320)
            #expect(try speak(vocoder, units, pieces: [1], framesPerPiece: 1) == samples)
        }
    }

    /// By hand, for kernels of 11 and dilations of 1, 3 and 5 (60 columns per stage):
    /// 3 → 3·5+3+60 = 78 → 78·4+2+60 = 374 → 374·4+2+60 = 1558 → 1558·2+1+60 = 3177 →
    /// 3177·2+1+60 = 6415 → 6418 samples.
    @Test func theLookaheadIsTheRightHalfOfTheReceptiveField() throws {
        let vocoder = try VocoderFixture("a").vocoder
        #expect(vocoder.lookaheadSamples == 6418)
        // Units that a duration depends on.
        #expect(vocoder.durations.layers.reduce(0) { $0 + $1.convolution.convolution.padding } == 2)
    }

    @Test func samplesAreFinalAsSoonAsTheLookaheadIsKnown() throws {
        let vocoder = try VocoderFixture("a").vocoder
        var generator = try StreamedWaveform(vocoder)
        var samples = 0
        for frame in Int32(1)...30 {
            samples += try generator.push([frame], isLast: false)?.count ?? 0
            #expect(samples == max(0, Int(frame) * 320 - 6418))
        }
        samples += try generator.push([], isLast: true)?.count ?? 0
        #expect(samples == 30 * 320)
    }

    @Test func unitsAreSpokenAsSoonAsTheyAndTheirLookaheadAreKnown() throws {
        let fixture = try VocoderFixture("a")
        let units = try fixture.units("vocoder")
        let frames = try fixture.frames("vocoder")
        let stream = VocoderStream(fixture.vocoder)
        var samples = 0
        for index in units.indices {
            try stream.append([units[index]])
            samples += try stream.drain().samples.count
            let decided = frames.prefix(max(0, index + 1 - 2)).reduce(0, +)
            #expect(samples == max(0, decided * 320 - 6418))
        }
    }

    @Test func aFrameChangesTheSampleAtTheLookaheadAndNoneBefore() throws {
        let vocoder = try VocoderFixture("a").vocoder
        func speak(_ last: Int32) throws -> [Float] {
            let units = [Int32](repeating: 4, count: 30) + [Int32](repeating: last, count: 30)
            var generator = try StreamedWaveform(vocoder)
            return try [units, []].flatMap { try generator.push($0, isLast: $0.isEmpty)?.values ?? [] }
        }
        let (before, after) = (try speak(9), try speak(77))
        let first = try #require(before.indices.first { before[$0] != after[$0] })
        #expect(first >= 30 * 320 - 6418)
        // The outermost taps are products of a hundred weights, too small to change the first of these samples.
        #expect(first < 30 * 320 - 6418 + 2000)
    }

    @Test func aPieceIsBounded() throws {
        let vocoder = try VocoderFixture("a").vocoder
        let stream = VocoderStream(vocoder)
        try stream.append((0..<500).map { $0 % 100 })
        stream.finish()
        var longest = 0
        while stream.hasWork { longest = max(longest, try stream.produce().count) }
        #expect(longest <= max(VocoderStream.defaultFrames * 320, vocoder.lookaheadSamples))
    }

    @Test func threadsShareAVocoder() async throws {
        let fixture = try VocoderFixture("b")
        let units = try fixture.units("turn_text")
        let vocoder = fixture.vocoder
        let expected = try vocoder.speak(units).samples
        try await withThrowingTaskGroup(of: [Float].self) { group in
            for pieces in 1...4 { group.addTask { try vocoder.speak(units, framesPerPiece: pieces * 5).samples } }
            for try await samples in group { #expect(samples == expected) }
        }
    }
}
