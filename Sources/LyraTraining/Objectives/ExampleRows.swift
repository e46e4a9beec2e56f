import LyraBase
import LyraModel
import LyraTensor

/// A stretch of the decoder's input: text, or media that are encoded.
enum ExampleStretch {
    /// Tokens that the model reads.
    case prompt([Int32])
    /// Tokens that the model should produce.
    case answer([Int32])
    /// [tokens, hidden]
    case media(Tensor, MediaLayout)
}

/// An example as rows of the decoder's input.
struct ExampleRows {
    struct Answer {
        /// The row of the first token; the row before it predicts that token.
        let first: Int
        let tokens: [Int32]
    }

    let sample: BatchSample
    let answers: [Answer]
    /// Prompt rows of the first speech; nil if there is none.
    let speech: Tensor?
    /// The tokens of what the first speech says; nil if the data do not tell.
    let transcript: [Int32]?

    /// What LCMR compares; nil if speech or transcript are missing.
    var alignable: (speech: Tensor, transcript: [Int32])? {
        guard let speech, let transcript, !transcript.isEmpty else { return nil }
        return (speech, transcript)
    }

    /// - Parameters:
    ///   - stretches: pass `ExampleCheck`
    ///   - adapter: whose embeddings the text gets; nil for none
    /// - Throws: `LyraError.argument` for a token outside the vocabulary, `.memory` if there is no room.
    init(
        _ stretches: [ExampleStretch], speech: Tensor?, transcript: [Int32]?, decoder: Decoder, adapter: Int?
    ) throws {
        var tensors: [Tensor] = [], positions: [Position] = []
        var isMedia: [Bool] = [], isQuery: [Bool] = [], turns: [Int] = []
        var next: Int32 = 0
        var answers: [Answer] = []
        // In the same turn; an answer ends it.
        var followsMedium = false
        let turnCount = stretches.count { if case .answer = $0 { true } else { false } }
        func append(_ rows: Tensor, _ layout: MediaLayout, isMedia medium: Bool, isQuery query: Bool) {
            tensors.append(rows)
            positions += (0..<rows.rows).map { layout.position(of: $0, from: next) }
            next += Int32(layout.length(rows: rows.rows))
            isMedia += repeatElement(medium, count: rows.rows)
            isQuery += repeatElement(query, count: rows.rows)
            turns += repeatElement(min(answers.count, turnCount - 1), count: rows.rows)
        }
        for stretch in stretches {
            switch stretch {
            case .prompt(let ids):
                // The extractor's queries are those of a session: it prunes the media of a turn by that turn's text
                // after the first medium, before it knows a later question. Answers are no queries.
                append(
                    try decoder.embed(ids, adapter: adapter), .sequence, isMedia: false, isQuery: followsMedium)
            case .answer(let ids):
                let answer = Answer(first: positions.count, tokens: ids)
                // In a session there is no answer yet when the media of its turn are pruned: to the extractor it is
                // part of the next turn. The last answer is part of its own, as in the reference's training.
                answers.append(answer)
                append(try decoder.embed(ids, adapter: adapter), .sequence, isMedia: false, isQuery: false)
                followsMedium = false
            case .media(let rows, let layout):
                append(rows, layout, isMedia: true, isQuery: false)
                followsMedium = true
            }
        }
        sample = try BatchSample(
            embeddings: .stacking(tensors), positions: positions, isMedia: isMedia, isQuery: isQuery, turns: turns)
        (self.answers, self.speech, self.transcript) = (answers, speech, transcript)
    }
}

extension BatchOutput {
    /// Hidden states that predict the answers of a batch.
    ///
    /// - Parameter answers: of each example
    /// - Returns: for each answer, in order, its tokens and the places of the rows in `hidden` that predict them
    /// - Throws: `LyraError.argument` if such a row was pruned.
    func predicting(_ answers: [[ExampleRows.Answer]]) throws -> [(places: [Int32], tokens: [Int32])] {
        var result: [(places: [Int32], tokens: [Int32])] = []
        var start: Int32 = 0
        for (answers, rows) in zip(answers, rows) {
            // The place of each row that is left.
            var places: [Int: Int32] = [:]
            for (place, row) in rows.enumerated() { places[row] = start + Int32(place) }
            for answer in answers {
                let found = try answer.tokens.indices.map { index in
                    guard let place = places[answer.first + index - 1] else {
                        throw LyraError(
                            .argument, "the row that predicts an answer's first token is a media token that was pruned")
                    }
                    return place
                }
                result.append((found, answer.tokens))
            }
            start += Int32(rows.count)
        }
        return result
    }
}
