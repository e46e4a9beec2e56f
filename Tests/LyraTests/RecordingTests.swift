import CSndfile
import CSoundWriter
import Foundation
import LyraBase
import LyraMedia
import Synchronization
import TestSupport
import Testing

@testable import Lyra

/// Recordings from every kind of source, whole and broken.
@Suite struct RecordingTests {
    private let golden = Golden.a

    /// Half a second, in 16-bit steps, so that every lossless file holds it exactly.
    private func samples() throws -> [Float] {
        try golden.shortRecording.prefix(8000).map { ($0 * 32767).rounded() / 32768 }
    }

    private func write(_ samples: [Float], _ name: String, _ format: Int) throws -> String {
        let path = NSTemporaryDirectory() + "lyra-\(UUID().uuidString)-\(name)"
        #expect(write_sound_file(path, samples, samples.count, 1, 16000, Int32(format)) != 0)
        return path
    }

    private func tokens(_ feed: (Session) throws -> Void) throws -> [Int32] {
        let session = try golden.session()
        try feed(session)
        try session.feed(text: "What is said?")
        return try session.outcome().tokens
    }

    /// A reader that gives at most 1000 bytes per read, and fails after `failsAfter` bytes.
    private final class Trickle: ByteReader {
        private let bytes: [UInt8]
        private var offset = 0
        private let failsAfter: Int

        init(_ bytes: [UInt8], failsAfter: Int = .max) {
            self.bytes = bytes
            self.failsAfter = failsAfter
        }

        func read(into buffer: UnsafeMutableRawBufferPointer) throws -> Int {
            guard offset < failsAfter else { throw LyraError(.io, "the connection was lost") }
            let count = min(buffer.count, bytes.count - offset, 1000)
            buffer.copyBytes(from: bytes[offset..<offset + count])
            offset += count
            return count
        }

        func seek(to offset: Int64) { self.offset = min(Int(offset), bytes.count) }
        var size: Int64 { Int64(bytes.count) }
    }

    @Test func everySourceOfTheSameSamplesGivesTheSameAnswer() throws {
        let pcm = try samples()
        let wanted = try tokens { try $0.feed(pcm: pcm) }
        for piece in [1, 160, 7777] {
            let got = try tokens { session in
                for start in stride(from: 0, to: pcm.count, by: piece) {
                    try session.feed(pcm: Array(pcm[start..<min(start + piece, pcm.count)]))
                }
            }
            #expect(got == wanted, "pieces of \(piece)")
        }
        let wav = try write(pcm, "a.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16)
        let flac = try write(pcm, "a.flac", SF_FORMAT_FLAC | SF_FORMAT_PCM_16)
        defer { for path in [wav, flac] { unlink(path) } }
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: wav)))
        #expect(try tokens { try $0.feed(.speech(.file(wav))) } == wanted)
        #expect(try tokens { try $0.feed(.speech(.file(flac))) } == wanted)
        #expect(try tokens { try $0.feed(.speech(.bytes(bytes))) } == wanted)
        #expect(try tokens { try $0.feed(.speech(.reader(Trickle(bytes)))) } == wanted)
    }

    @Test func samplesAfterAnEndedRecordingAreAnother() throws {
        let pcm = try samples()
        let session = try golden.session()
        try session.feed(pcm: pcm)
        try session.feed(pcm: pcm)
        #expect(try session.outcome().stop != .none)
        #expect(session.usage.mediaTokens == 300)
        try session.feed(pcm: pcm)
        session.endRecording()
        try session.feed(pcm: pcm)
        _ = try session.outcome()
        #expect(session.usage.mediaTokens == 600)
    }

    /// Two encoders must not read one queue or one reader.
    @Test func aSourceThatIsUsedUpIsRefusedByName() throws {
        let pcm = try samples(), wanted = try tokens { try $0.feed(pcm: pcm) }
        let wav = try write(pcm, "a.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16)
        defer { unlink(wav) }
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: wav)))
        let queue = try PCMQueue(sampleRate: 16_000, channels: 1, name: "the host's queue")
        try pcm.withUnsafeBufferPointer { try queue.append($0, sampleRate: 16_000, channels: 1) }
        queue.finish()
        let sources: [(MediaSource, String)] = [
            (try .samples(pcm, sampleRate: 16_000), "appended PCM was fed already"),
            (try .bytes(bytes), "audio in memory was fed already"),
            (.reader(Trickle(bytes)), "audio from a reader was fed already"),
            (.recording(queue), "the host's queue was fed already"),
            (.deferred { _ in try .samples(pcm, sampleRate: 16_000) }, "audio was fed already"),
        ]
        for (source, message) in sources {
            let session = try golden.session()
            // A feed that is refused uses nothing up.
            _ = lyraError { try session.feed(.image(source)) }
            try session.feed(.speech(source))
            session.endRecording()
            expect(.state, message) { try session.feed(.speech(source)) }
            expect(.state) { try session.feed(.sound(source)) }
            #expect(try session.ask("What is said?").tokens == wanted, "\(message)")
        }
        let file = MediaSource.file(wav), session = try golden.session()
        for _ in 0..<2 { try session.feed(.speech(file)) }
        _ = try session.outcome()
        #expect(session.usage.mediaTokens == 600, "a file can be fed any number of times")
    }

    /// A feed that is refused must not read a caller's memory, nor report a fault in it.
    @Test func aSourceIsMadeOnceTheSessionTakesIt() throws {
        func feedAll(_ session: Session, _ code: LyraError.Code) {
            let source = MediaSource.deferred { _ in
                Issue.record("the source was made")
                return try .samples([.nan], sampleRate: 16_000)
            }
            for medium in [MediaInput.speech(source), .sound(source), .image(source), .video(source)] {
                expect(code) { try session.feed(medium) }
            }
        }
        let session = try golden.session()
        try session.feed(text: "Hello!")
        try session.endTurn()
        feedAll(session, .state)
        _ = try session.finish()

        let bare = NSTemporaryDirectory() + "lyra-\(UUID().uuidString)"
        try FileManager.default.copyItem(atPath: Golden.path("b") + "/lyra", toPath: bare)
        defer { try? FileManager.default.removeItem(atPath: bare) }
        feedAll(try Session(Model(path: bare)), .missing)
    }

    @Test func aFaultySampleIsNamedByItsPlaceInTheRecording() throws {
        let session = try golden.session()
        let source = { (samples: [Float]) in
            MediaSource.deferred { firstFrame in
                try samples.withUnsafeBufferPointer {
                    try .samples(copying: $0, channels: 2, sampleRate: 16_000, firstFrame: firstFrame)
                }
            }
        }
        try session.feed(.speech(source([Float](repeating: 0.1, count: 2000))))
        expect(.argument, "sample 1001 of channel 1 ") { try session.feed(.speech(source([0, 0, 0, .nan]))) }
        try session.feed(.speech(source([0, 0])))
        expect(.argument, "sample 1001 of channel 0 ") { try session.feed(.speech(source([.infinity, 0]))) }
        session.endRecording()
        expect(.argument, "sample 0 of channel 0 ") { try session.feed(.speech(source([.nan, 0]))) }
    }

    @Test func silenceOfNoLengthIsAnswered() throws {
        let session = try golden.session()
        try session.feed(pcm: [])
        _ = try session.outcome()
        #expect(session.usage.mediaTokens == 300)
        #expect(session.usage.adapter == "speech")
    }

    /// A session and what its model logged.
    private func logging() throws -> (session: Session, messages: () -> [String]) {
        let messages = Messages()
        let model = Model(checkpoint: golden.model.checkpoint) { level, message in
            messages.all.withLock { $0.append("\(level): \(message)") }
        }
        var options = SessionOptions()
        options.maxNewTokens = 1
        return (try Session(model, options: options), { messages.all.withLock { $0 } })
    }

    private final class Messages: Sendable {
        let all = Mutex<[String]>([])
    }

    @Test func silentAndEmptyRecordingsAreLoggedOnce() throws {
        let below = Float(1e-3).nextDown
        for (samples, word) in [
            ([], "no samples"), ([0], "silent"), ([Float](repeating: 0, count: 480_000), "silent"),
            ([Float](repeating: below, count: 500_000), "silent"), ([Float](repeating: -below, count: 7), "silent"),
        ] {
            let (session, messages) = try logging()
            try session.feed(pcm: samples)
            _ = try session.outcome()
            #expect(messages().count == 1, "\(messages())")
            #expect(messages().allSatisfy { $0.hasPrefix("warning: appended PCM: recording 1") && $0.contains(word) })
        }
        for samples in [[Float(1e-3)], [-1e-3], [Float](repeating: 0, count: 490_000) + [0.5]] {
            let (session, messages) = try logging()
            try session.feed(pcm: samples)
            _ = try session.outcome()
            #expect(messages().isEmpty)
        }
    }

    /// Three concatenated Ogg files, of which the second has a damaged head: it is skipped, with one log message.
    @Test func skippedStreamsOfAConcatenatedFileAreLogged() throws {
        let path = try write(try samples(), "j.ogg", SF_FORMAT_OGG | SF_FORMAT_VORBIS)
        defer { unlink(path) }
        let whole = [UInt8](try Data(contentsOf: URL(filePath: path)))
        var damaged = whole
        damaged.replaceSubrange(28..<60, with: [UInt8](repeating: 0, count: 32))
        try Data(whole + damaged + whole).write(to: URL(filePath: path))
        for input in [MediaInput.speech(.file(path)), .sound(.file(path))] {
            let (session, messages) = try logging()
            try session.feed(input)
            _ = try session.outcome()
            let start = "warning: \(path): recording 1 of the turn lacks the Ogg stream that begins at byte"
            #expect(
                messages().count == 1 && messages().allSatisfy { $0.hasPrefix("\(start) \(whole.count),") },
                "\(messages())")
        }
    }

    @Test func silentRecordingsAreLoggedByTheirSource() throws {
        let silent = try write([Float](repeating: 0, count: 9000), "s.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16)
        let empty = try write([], "e.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16)
        let loud = try write(try samples(), "l.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16)
        defer { for path in [silent, empty, loud] { unlink(path) } }
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: silent)))
        let (session, messages) = try logging()
        try session.feed(.speech(.file(loud)))
        try session.feed(.speech(.file(silent)))
        try session.feed(.speech(.file(empty)))
        try session.feed(.speech(.bytes(bytes)))
        try session.feed(.speech(.reader(Trickle(bytes))))
        try session.feed(.sound(.file(silent)))
        try session.feed(.sound(.file(loud)))
        // The mean of both channels is zero.
        let opposite = (0..<8000).map { Float($0 % 2 == 0 ? 0.5 : -0.5) }
        try session.feed(.speech(.samples(opposite, channels: 2, sampleRate: 16_000)))
        _ = try session.outcome()
        let logged = Set(messages())
        #expect(logged.count == 6 && messages().count == 6, "\(logged)")
        for start in [
            "\(silent): recording 2", "\(empty): recording 3", "audio in memory: recording 4",
            "audio from a reader: recording 5", "\(silent): recording 6", "appended PCM: recording 8",
        ] { #expect(logged.contains { $0.hasPrefix("warning: " + start) }, "\(start)") }
        try session.feed(pcm: [0])
        _ = try session.outcome()
        #expect(messages().last?.contains("recording 1 of the turn") == true, "each turn counts its own")
    }

    @Test func aFullWindowIsFollowedByAnEmptyOneAsInTheReference() throws {
        let session = try golden.session { $0.maxNewTokens = 1 }
        try session.feed(pcm: [Float](repeating: 0.1, count: 480_000))
        _ = try session.outcome()
        #expect(session.usage.mediaTokens == 600)
        #expect(session.usage.adapter == "long_speech")
    }

    /// A turn that fails is rolled back: the next answer is that of a fresh session.
    private func expectRollback(
        _ code: LyraError.Code, _ part: String, change: (inout SessionOptions) -> Void = { _ in },
        feed: (Session) throws -> Void
    ) throws {
        let fresh = try golden.session().ask("Hello!")
        let session = try golden.session(change)
        try feed(session)
        try session.endTurn()
        expect(code, part) { while try !session.step().contains(.end) {} }
        #expect(!session.isAnswering && session.usage.stop == .failed)
        #expect(session.readTokens().isEmpty && session.readText().isEmpty)
        var after = try session.ask("Hello!")
        after.steps = fresh.steps
        #expect(after == fresh)
        #expect(session.usage.adapter == nil && session.usage.cachedTokens == 0)
    }

    @Test func aSourceThatFailsRollsTheTurnBack() throws {
        let long = try (0..<40).flatMap { _ in try samples() }
        let wav = try write(long, "b.wav", SF_FORMAT_WAV | SF_FORMAT_PCM_16)
        defer { unlink(wav) }
        let bytes = [UInt8](try Data(contentsOf: URL(filePath: wav)))
        try expectRollback(.io, "the connection was lost") {
            try $0.feed(.speech(.reader(Trickle(bytes, failsAfter: 100_000))))
        }
        var floats = try samples()
        floats[5000] = .nan
        let broken = try write(floats, "c.wav", SF_FORMAT_WAV | SF_FORMAT_FLOAT)
        defer { unlink(broken) }
        try expectRollback(.format, "5000") { try $0.feed(.speech(.file(broken))) }
    }

    @Test func aConversationOverItsLimitIsRefusedWithBothNumbers() throws {
        let pcm = try samples()
        try expectRollback(.memory, "the limit of 100 (max_context_tokens)", change: { $0.maxContextTokens = 100 }) {
            try $0.feed(pcm: pcm)
            try $0.feed(text: "What is said?")
        }
    }

    @Test func filesThatAreNoRecordingsAreRefusedAtOnce() throws {
        let session = try golden.session()
        expect(.io, "nowhere.wav") { try session.feed(.speech(.file("/nowhere.wav"))) }
        expect(.format) { try session.feed(.speech(.file(Golden.path("a") + "/lyra/config.json"))) }
        expect(.state) { try session.endTurn() }
        _ = try session.ask("Hello!")
    }
}
