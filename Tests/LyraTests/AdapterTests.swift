import Foundation
import TestSupport
import Testing

@testable import Lyra

/// Which adapter a conversation uses.
@Suite struct AdapterTests {
    private let golden = Golden.b

    @Test func theAutomaticAdapterSwitchesUpAndNeverBack() throws {
        let session = try golden.session { $0.maxNewTokens = 2 }
        let short = Array(try golden.shortRecording.prefix(4000))
        _ = try session.ask("Hello!")
        #expect(session.usage.adapter == nil)
        _ = try session.ask("What?", hearing: short)
        #expect(session.usage.adapter == "speech")
        _ = try session.ask("Again?")
        #expect(session.usage.adapter == "speech")
        _ = try session.ask("Now?", hearing: [Float](repeating: 0, count: 480_000))
        #expect(session.usage.adapter == "long_speech")
        _ = try session.ask("And this?", hearing: short)
        #expect(session.usage.adapter == "long_speech")
        try session.reset()
        _ = try session.ask("Hello!")
        #expect(session.usage.adapter == nil)
    }

    @Test func aFixedAdapterStays() throws {
        let short = Array(try golden.shortRecording.prefix(4000))
        for (choice, name) in [("none", nil), ("speech", "speech"), ("long_speech_lora", "long_speech")] {
            let session = try golden.session { ($0.maxNewTokens, $0.adapter) = (4, .init(choice)) }
            let outcome = try session.ask("What?", hearing: short)
            #expect(session.usage.adapter == name)
            let opening = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
            let wanted = try golden.answer(
                [.text(opening), .speech(short), .text("\nWhat?<|im_end|>\n<|im_start|>assistant\n")], adapter: name,
                limit: 4)
            #expect(outcome.tokens == wanted, "\(choice)")
        }
    }

    @Test func anUnknownAdapterIsRefusedWithTheNamesOfTheKnownOnes() {
        expect(.argument, "sing", "long_speech") { _ = try golden.session { $0.adapter = .named("sing") } }
    }
}
