import Foundation
import LyraFormats
import LyraModel
import TestSupport
import Testing

@testable import Lyra

/// Conversations that are saved, restored and continued.
@Suite struct StateTests {
    private func temporary(_ name: String) -> String {
        FileManager.default.temporaryDirectory.path + "/lyra-\(ProcessInfo.processInfo.processIdentifier)-" + name
    }

    private func session(_ golden: Golden, _ change: (inout SessionOptions) -> Void = { _ in }) throws -> Session {
        try golden.session {
            // Random sampling, so that the answer depends on the sampler's state.
            ($0.speaks, $0.sampling, $0.temperature, $0.topK, $0.topP, $0.seed) = (true, .random, 1.5, 0, 1, 5)
            change(&$0)
        }
    }

    @Test(arguments: Golden.both, KeyValueType.allCases)
    func aRestoredSessionContinuesLikeTheOriginal(_ golden: Golden, _ type: KeyValueType) throws {
        let path = temporary("unbroken-\(golden)-\(type.rawValue)")
        defer { unlink(path) }
        let unbroken = try session(golden) {
            ($0.keyValueType, $0.systemPrompt) = (type, "Be brief.")
            $0.extractor = .on(try! Extractor(gap: 2, keep: 0.7))
        }
        _ = try unbroken.ask("What is said?", hearing: golden.longRecording)
        try unbroken.save(to: path)
        let wanted = [try unbroken.ask("And then?"), try unbroken.ask("Why?")]
        let restored = try session(golden)
        _ = try restored.ask("Something else")
        try restored.restore(from: path)
        #expect([try restored.ask("And then?"), try restored.ask("Why?")] == wanted)
        #expect(restored.systemPrompt == "Be brief.")
    }

    @Test func aRecordingIsPrefilledOnceAndAskedAboutManyTimes() throws {
        let golden = Golden.a
        let path = temporary("recording")
        defer { unlink(path) }
        let prepared = try golden.session { $0.speaks = true }
        try prepared.feed(pcm: golden.longRecording)
        prepared.endRecording()
        while try prepared.step() == .progress {}
        try prepared.save(to: path)
        for _ in 0..<2 {
            let asked = try golden.session { $0.speaks = true }
            try asked.restore(from: path)
            #expect(asked.media.map(\.tokens) == [900])
            let outcome = try asked.ask("Summarize.")
            #expect(outcome.tokens == (try golden.integers("turn_long", "out.ids")))
            #expect(outcome.units == (try golden.integers("turn_long", "out.units")))
            #expect(asked.usage.mediaTokens == 900)
        }
        let cancelled = try golden.session()
        try cancelled.restore(from: path)
        cancelled.control.cancel()
        expect(.state) { _ = try cancelled.step() }
        #expect(try cancelled.ask("Hello!") == golden.session().ask("Hello!"), "the restored turn is rolled back, too")
    }

    @Test func aTurnThatIsNotComputedCannotBeSaved() throws {
        let session = try Golden.a.session()
        try session.feed(text: "Hello!")
        expect(.state) { try session.save(to: temporary("never")) }
        try session.endTurn()
        expect(.state) { try session.save(to: temporary("never")) }
        expect(.state) { try session.restore(from: temporary("never")) }
        #expect(access(temporary("never"), F_OK) != 0)
        _ = try session.finish()
        expect(.io) { try session.save(to: "/nowhere/state") }
        expect(.io) { try session.restore(from: "/nowhere/state") }
    }

    @Test func damagedFilesAreRefusedAndTheSessionStaysUsable() throws {
        let golden = Golden.b
        let path = temporary("damaged")
        defer { unlink(path) }
        let source = try session(golden)
        _ = try source.ask("Hello!")
        try source.save(to: path)
        let bytes = try [UInt8](Data(contentsOf: URL(filePath: path)))
        let wanted = try source.ask("And?")
        let victim = try session(golden)
        _ = try victim.ask("Hello!")
        var cases: [[UInt8]] = [[], Array(bytes.prefix(8)), Array(bytes.dropLast()), bytes + [0]]
        for position in [0, 9, 13, 20, 40, bytes.count / 2, bytes.count - 1] {
            var damaged = bytes
            damaged[position] ^= 0x40
            cases.append(damaged)
        }
        for (index, damaged) in cases.enumerated() {
            try Data(damaged).write(to: URL(filePath: path))
            let error = lyraError { try victim.restore(from: path) }
            #expect([.format, .unsupported, .io].contains(error.code), "case \(index): \(error.message)")
            #expect(error.message.contains(path))
        }
        #expect(try victim.ask("And?") == wanted)
    }

    /// The numbers of a header are checked even if its checksum is right.
    @Test func headersWithImpossibleNumbersAreRefused() throws {
        let path = temporary("hostile")
        defer { unlink(path) }
        let golden = Golden.a
        let source = try golden.session()
        try source.feed(pcm: golden.longRecording)
        source.endRecording()
        while try source.step() == .progress {}
        try source.save(to: path)
        let bytes = try [UInt8](Data(contentsOf: URL(filePath: path)))
        let size = Int(bytes[12..<20].enumerated().reduce(UInt64(0)) { $0 | UInt64($1.element) << (8 * $1.offset) })
        let header = try #require(String(bytes: bytes[20..<20 + size], encoding: .utf8))
        let largest = "\(Int.max)"
        for (before, after) in [
            ("\"tokens\":900", "\"tokens\":\(largest)"), ("\"tokens\":900", "\"tokens\":-1"),
            ("\"promptTokens\":\(source.fed?.promptTokens ?? 0)", "\"promptTokens\":\(largest)"),
            ("\"first\":\(source.media[0].first)", "\"first\":\(largest)"),
            ("\"nextPosition\":\(source.conversation.nextPosition)", "\"nextPosition\":\(Int32.max)"),
            ("\"lengths\":[\(source.conversation.length)", "\"lengths\":[\(largest)"),
        ] {
            let changed = Array(header.replacingOccurrences(of: before, with: after).utf8)
            try #require(changed != Array(header.utf8), "\(before)")
            let count = (0..<8).map { UInt8(truncatingIfNeeded: changed.count >> (8 * $0)) }
            let content = bytes[..<12] + count + changed + bytes[(20 + size)..<(bytes.count - 4)]
            let sum = Array(content).withUnsafeBytes { CRC32.checksum($0) }
            let file = content + (0..<4).map { UInt8(truncatingIfNeeded: sum >> (8 * $0)) }
            try Data(file).write(to: URL(filePath: path))
            let victim = try golden.session()
            expect(.format, path, "damaged") { try victim.restore(from: path) }
            #expect(try !victim.ask("Hello!").tokens.isEmpty)
        }
    }

    /// A restored conversation keeps the session's adapter and limits; the memory limit counts the file's cache type.
    @Test func aFixedAdapterAndTheLimitsStay() throws {
        let path = temporary("options")
        defer { unlink(path) }
        let golden = Golden.a
        let source = try golden.session { $0.keyValueType = .int8 }
        _ = try source.ask("Hello!")
        try source.save(to: path)
        let fixed = try golden.session { $0.adapter = .named("speech") }
        try fixed.restore(from: path)
        _ = try fixed.ask("And?")
        #expect(fixed.usage.adapter == "speech")
        let small = try golden.session { $0.maxMemoryBytes = source.usage.cacheBytes }
        try small.restore(from: path)
        #expect(try !small.ask("And?").tokens.isEmpty, "counted as bytes, not as floats")
    }

    @Test func anotherModelsStateIsRefused() throws {
        let path = temporary("other")
        defer { unlink(path) }
        let source = try Golden.a.session()
        _ = try source.ask("Hello!")
        try source.save(to: path)
        expect(.argument, path, "another model") { try Golden.b.session().restore(from: path) }
        expect(.memory) { try Golden.a.session { $0.maxMemoryBytes = 1000 }.restore(from: path) }
    }
}
