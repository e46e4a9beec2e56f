import LyraText
import Testing

@Suite("Chat layout")
struct ChatTemplateTests {
    @Test("Two turns are laid out as Qwen2's chat template writes them")
    func twoTurns() {
        let text =
            ChatTemplate.opening() + "Hi" + ChatTemplate.userEnd + "Hello." + ChatTemplate.turnEnd
            + ChatTemplate.nextTurn(answerEnded: true) + "Bye" + ChatTemplate.userEnd
        #expect(
            text == """
                <|im_start|>system
                You are a helpful assistant.<|im_end|>
                <|im_start|>user
                Hi<|im_end|>
                <|im_start|>assistant
                Hello.<|im_end|>
                <|im_start|>user
                Bye<|im_end|>
                <|im_start|>assistant

                """)
        #expect(ChatTemplate.nextTurn(answerEnded: false) == "<|im_end|>\n<|im_start|>user\n")
        #expect(ChatTemplate.opening(system: "X").hasPrefix("<|im_start|>system\nX<|im_end|>\n"))
    }
}
