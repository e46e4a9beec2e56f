import LyraBase

/// Whether an example can be used: the language model can read it, and there is something to learn.
struct ExampleCheck {
    /// A stretch of the decoder's input, with media not yet encoded.
    enum Outline {
        case prompt([Int32])
        case answer([Int32])
        /// Number of tokens.
        case media(Int)
    }

    let vocabularySize: Int
    /// Whether media tokens are pruned, so that none of them may predict an answer.
    let prunesMedia: Bool

    /// - Parameter origin: the example's place, for messages
    /// - Throws: `LyraError.argument`, naming the place and the reason, for an example that cannot be used.
    func callAsFunction(_ outlines: [Outline], transcript: [Int32]?, origin: String) throws {
        func refusal(_ reason: String) -> LyraError { LyraError(.argument, "\(origin): \(reason)") }
        func check(_ ids: [Int32], _ name: String) throws {
            guard let wrong = ids.first(where: { $0 < 0 || Int($0) >= vocabularySize }) else { return }
            throw refusal("\(name) has the token \(wrong), outside the model's vocabulary of \(vocabularySize)")
        }
        var rows = 0, targets = 0
        var followsMedium = false
        for outline in outlines {
            switch outline {
            case .prompt(let ids):
                try check(ids, "the prompt")
                rows = rows.saturatingAdding(ids.count)
                if !ids.isEmpty { followsMedium = false }
            case .answer(let ids):
                try check(ids, "the answer")
                guard !ids.isEmpty else { continue }
                guard rows > 0 else {
                    throw refusal("nothing comes before the answer that could predict its first token")
                }
                guard !followsMedium || !prunesMedia else {
                    throw refusal("the answer follows a medium directly, whose tokens the extractor can prune")
                }
                rows = rows.saturatingAdding(ids.count)
                targets += ids.count
                followsMedium = false
            case .media(let count):
                rows = rows.saturatingAdding(count)
                if count > 0 { followsMedium = true }
            }
        }
        try check(transcript ?? [], "the transcript")
        guard targets > 0 else { throw refusal("there is no answer to learn") }
        guard rows <= Int(Int32.max) else { throw refusal("\(rows) tokens are too many to number") }
    }
}
