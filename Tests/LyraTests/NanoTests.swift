import Foundation
import LyraModel
import Synchronization
import Testing

@testable import Lyra

/// lyra:nano, the model inside the library, if there is one.
@Suite struct NanoTests {
    #if Nano
        private static let file = Golden.path("../../Sources/CNano/weights/nano.gguf")

        private func answer(of model: Model) throws -> Outcome {
            var options = SessionOptions()
            options.sampling = .greedy
            options.maxNewTokens = 12
            options.speaks = model.speaks
            return try Session(model, options: options).ask("What is in the picture?")
        }

        @Test func answersLikeItsFile() throws {
            let wanted = try answer(of: Model(path: Self.file))
            #expect(!wanted.tokens.isEmpty)
            #expect(Model.hasNano)
            #expect(try answer(of: Model.nano()) == wanted)
            #expect(try answer(of: Model(path: "lyra:nano")) == wanted)
        }

        @Test func hearsAndSees() throws {
            let media = Golden.path("../../examples/media/")
            var options = SessionOptions()
            options.sampling = .greedy
            func answer(_ inputs: MediaInput..., text: String = "") throws -> String {
                let session = try Session(Model.nano(), options: options)
                for input in inputs { try session.feed(input) }
                return try String(decoding: session.ask(text).text, as: UTF8.self)
            }
            let scene = MediaInput.image(.file(media + "shapes.png"))
            #expect(try answer(.speech(.file(media + "sky.wav"))) == "Blue.")
            #expect(try answer(scene, text: "Where is the orange circle?") == "On the right.")
            #expect(try answer(scene, .speech(.file(media + "where.wav"))) == "At the bottom right.")
        }

        @Test func isOpenedBySeveralThreadsAndClosed() throws {
            let wanted = try answer(of: Model(path: Self.file))
            let outcomes = Mutex<[Outcome]>([])
            DispatchQueue.concurrentPerform(iterations: 4) { _ in
                for _ in 0..<2 {
                    let outcome = Result { try answer(of: Model.nano()) }
                    if case .success(let outcome) = outcome { outcomes.withLock { $0.append(outcome) } }
                }
            }
            #expect(outcomes.withLock { $0 } == [Outcome](repeating: wanted, count: 8))
        }

        /// Opened from the file, the model continues a conversation with the model inside the library.
        @Test func savedConversationsAreTheFilesToo() throws {
            let path = NSTemporaryDirectory() + "lyra-nano-\(UUID().uuidString)"
            defer { try? FileManager.default.removeItem(atPath: path) }
            var options = SessionOptions()
            options.sampling = .greedy
            options.maxNewTokens = 4
            let first = try Session(Model.nano(), options: options)
            _ = try first.ask("Hello!")
            try first.save(to: path)
            let second = try Session(Model(path: Self.file), options: options)
            try second.restore(from: path)
            #expect(try second.ask("And now?").tokens == first.ask("And now?").tokens)
        }

        @Test func messagesNameIt() throws {
            let messages = Mutex<[String]>([])
            var options = ModelOptions()
            options.log = { _, message in messages.withLock { $0.append(message) } }
            _ = try Model.nano(options: options)
            #expect(messages.withLock { $0 }.contains { $0.hasPrefix("lyra:nano: opened: ") })
        }

        @Test func optionsApplyToIt() throws {
            var options = ModelOptions()
            options.adapterDirectories = [("speech", "lyra-nowhere")]
            let error = #expect(throws: LyraError.self) { _ = try Model.nano(options: options) }
            #expect(error?.code == .missing && error?.message.hasPrefix("lyra-nowhere: ") == true)
            options.adapterDirectories = []
            options.progress = { _, _ in throw LyraError(.state, "stop") }
            #expect(throws: LyraError(.state, "stop")) { _ = try Model.nano(options: options) }
        }
    #else
        @Test func isMissingByName() {
            #expect(!Model.hasNano)
            let error = #expect(throws: LyraError.self) { _ = try Model.nano() }
            #expect(error?.code == .missing && error?.message.contains("package trait Nano") == true)
        }
    #endif
}
