import Foundation
import LyraBase
import TestSupport
import Testing

@testable import Lyra

/// A checkpoint with a damaged file gives an answer or an error, and never ends the process.
@Suite(.serialized) struct DamageTests {
    /// A copy of a checkpoint whose files are links, except those that are damaged.
    private final class Copy {
        let root: String
        private let source = Golden.path("a")
        private let manager = FileManager.default

        init() throws {
            root = NSTemporaryDirectory() + "lyra-damage-\(UUID().uuidString)"
            for file in files {
                let target = root + "/" + file
                let folder = URL(filePath: target).deletingLastPathComponent().path
                try manager.createDirectory(atPath: folder, withIntermediateDirectories: true)
                try manager.createSymbolicLink(atPath: target, withDestinationPath: source + "/" + file)
            }
        }

        deinit { try? manager.removeItem(atPath: root) }

        var files: [String] {
            let all = manager.enumerator(atPath: source)?.compactMap { $0 as? String } ?? []
            return all.filter { path in
                var isDirectory: ObjCBool = false
                return !path.hasPrefix("cases")
                    && manager.fileExists(atPath: source + "/" + path, isDirectory: &isDirectory)
                    && !isDirectory.boolValue
            }.sorted()
        }

        func bytes(_ file: String) throws -> [UInt8] {
            [UInt8](try Data(contentsOf: URL(filePath: source + "/" + file)))
        }

        /// Replaces the content of `file`.
        func replace(_ file: String, _ bytes: ArraySlice<UInt8>) throws {
            try? manager.removeItem(atPath: root + "/" + file)
            try Data(bytes).write(to: URL(filePath: root + "/" + file))
        }

        func restore(_ file: String) throws {
            try? manager.removeItem(atPath: root + "/" + file)
            try manager.createSymbolicLink(atPath: root + "/" + file, withDestinationPath: source + "/" + file)
        }
    }

    /// Opens the copy and, if `answers`, asks for two spoken tokens about a short recording.
    private func attempt(_ copy: Copy, answers: Bool, _ what: String) {
        do {
            let model = try withExtendedLifetime(copy) { try Model(path: copy.root + "/lyra") }
            guard answers else { return }
            var options = SessionOptions()
            (options.maxNewTokens, options.speaks, options.seed) = (2, model.speaks, 1)
            let session = try Session(model, options: options)
            if model.hearsSpeech { try session.feed(pcm: [Float](repeating: 0.25, count: 777)) }
            try session.feed(text: "Hello!")
            try session.endTurn()
            var steps = 0
            while try !session.step().contains(.end) {
                steps += 1
                try #require(steps < 10_000, "\(what) does not end")
            }
        } catch let error as LyraError {
            #expect(!error.message.isEmpty)
        } catch {
            Issue.record("\(what): not a LyraError: \(error)")
        }
    }

    @Test func truncatedAndFlippedFilesAreErrorsOrAnswers() throws {
        let copy = try Copy()
        var random = SplitMix64(seed: 11)
        #expect(copy.files.count > 12)
        for file in copy.files {
            let bytes = try copy.bytes(file)
            for place in 0..<10 {
                try copy.replace(file, bytes[..<(bytes.count * place / 10)])
                attempt(copy, answers: place % 5 == 4, "\(file) cut at \(place) / 10")
            }
            for trial in 0..<12 {
                var damaged = bytes
                let at = Int(random.next() % UInt64(max(bytes.count, 1)))
                if !damaged.isEmpty { damaged[at] ^= UInt8(truncatingIfNeeded: random.next() | 1) }
                try copy.replace(file, damaged[...])
                attempt(copy, answers: trial % 4 == 0, "\(file) with byte \(at) changed")
            }
            // Many bytes at once, mostly of weights: NaN, infinities and huge numbers are among them.
            var damaged = bytes
            for _ in 0..<2000 {
                let at = bytes.count / 2 + Int(random.next() % UInt64(max(bytes.count / 2, 1)))
                if at < damaged.count { damaged[at] = UInt8(truncatingIfNeeded: random.next()) }
            }
            try copy.replace(file, damaged[...])
            attempt(copy, answers: true, "\(file) with its second half randomly damaged")
            try copy.restore(file)
        }
        attempt(copy, answers: true, "the whole copy")
        _ = try withExtendedLifetime(copy) { try Model(path: copy.root + "/lyra") }
    }

    /// Weights that are all NaN or infinite give nonsense, but an answer.
    @Test(arguments: [UInt8(0x7f), 0xff]) func nanAndInfiniteWeightsDoNotCrash(_ byte: UInt8) throws {
        let copy = try Copy()
        for file in copy.files where file.hasSuffix(".safetensors") || file.hasSuffix("g_00500000") {
            var bytes = try copy.bytes(file)
            for at in stride(from: bytes.count / 2, to: bytes.count * 9 / 10, by: 3) { bytes[at] = byte }
            try copy.replace(file, bytes[...])
            attempt(copy, answers: true, "\(file) full of \(byte)")
            try copy.restore(file)
        }
    }
}
