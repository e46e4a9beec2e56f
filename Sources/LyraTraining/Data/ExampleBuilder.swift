import LyraBase
import LyraDatasets
import LyraMedia
import LyraModel
import LyraTensor
import LyraText

/// Makes examples of conversations: tokenizes their texts in the chat template, and decodes their media.
///
/// The prompt has the same tokens as in a session that is fed the same conversation. Immutable, so threads can share a
/// builder.
package struct ExampleBuilder: Sendable {
    let checkpoint: Checkpoint
    let options: ExampleOptions

    /// - Throws: `LyraError.argument` if an option is out of range.
    package init(_ checkpoint: Checkpoint, _ options: ExampleOptions = ExampleOptions()) throws {
        try options.check()
        (self.checkpoint, self.options) = (checkpoint, options)
    }

    /// - Throws: as for a conversation; `LyraError.format` also if the item does not end with an answer.
    package func example(_ item: DatasetItem) throws -> TrainingExample {
        try example(ExampleConversation(item))
    }

    /// - Throws: `LyraError` if a medium is missing, damaged, silent or over a limit, if the checkpoint cannot take it,
    ///   or if the example is too long; `.state` if interrupted.
    package func example(_ conversation: ExampleConversation) throws -> TrainingExample {
        var assembly = ExampleAssembly(tokenizer: checkpoint.tokenizer, maxLength: options.maxLength)
        assembly.add(ChatTemplate.openingSegments(system: conversation.system ?? options.systemPrompt))
        for (number, turn) in conversation.turns.enumerated() {
            if number > 0 { assembly.add([TextSegment(ChatTemplate.nextTurn(answerEnded: true))]) }
            for part in turn.content { try add(part, to: &assembly) }
            assembly.add([TextSegment(ChatTemplate.userEnd)])
            try assembly.answer(turn.answer)
        }
        let text = assembly.isFirstSpeechCut ? nil : conversation.transcript
        let transcript = try text.map { try tokens(ofTranscript: $0) }
        return TrainingExample(
            pieces: assembly.pieces, transcript: transcript?.isEmpty ?? true ? nil : transcript,
            units: conversation.units?.isEmpty ?? true ? nil : conversation.units, origin: conversation.origin,
            length: assembly.length)
    }

    /// - Throws: `LyraError.memory` if there are too many: the alignment of speech and transcript takes memory for each
    ///   pair of their tokens.
    private func tokens(ofTranscript text: String) throws -> [Int32] {
        let tokens = try checkpoint.tokenizer.encode(text, allowSpecial: false)
        if let limit = options.maxLength, tokens.count > limit {
            throw LyraError(.memory, "the transcript is longer than \(limit) tokens")
        }
        return tokens
    }

    private func add(_ part: ExampleConversation.Part, to assembly: inout ExampleAssembly) throws {
        switch part {
        case .text(let text): assembly.add([TextSegment(text, allowSpecial: false)])
        case .image(let path): try assembly.add(vision: try image(path), merge: merge)
        case .video(let path): try assembly.add(vision: try video(path), merge: merge)
        case .speech(let path):
            try assembly.endText()
            let rows = try checkpoint.speechNetworks.get().windowTokens
            // Each window is counted as it is read, so that a recording of hours does not fill the memory first.
            let (windows, isCut) = try speech(path) { try assembly.grow(by: rows) }
            assembly.add(speech: windows, isCut: isCut)
        case .sound(let path):
            try assembly.endText()
            let clips = try sound(path)
            try assembly.grow(by: clips.count)
            assembly.add(.sound(clips: clips))
        }
    }

    private var merge: Int { get throws { try checkpoint.visionNetworks.get().encoder.configuration.merge } }
}

/// The pieces of an example, as they are added.
private struct ExampleAssembly {
    let tokenizer: Tokenizer
    let maxLength: Int?
    private(set) var pieces: [TrainingExample.Piece] = []
    /// Rows of the pieces.
    private(set) var length = 0
    /// Whether the first recording of speech is longer than what is used of it.
    private(set) var isFirstSpeechCut = false
    private var hasSpeech = false
    /// Text that is tokenized together, once a medium or an answer follows.
    private var text: [TextSegment] = []

    init(tokenizer: Tokenizer, maxLength: Int?) { (self.tokenizer, self.maxLength) = (tokenizer, maxLength) }

    mutating func add(_ segments: [TextSegment]) { text += segments }

    mutating func add(_ piece: TrainingExample.Piece) { pieces.append(piece) }

    mutating func add(speech windows: [Tensor], isCut: Bool) {
        if !hasSpeech { (hasSpeech, isFirstSpeechCut) = (true, isCut) }
        add(.speech(windows: windows))
    }

    /// Counts rows.
    ///
    /// - Throws: `LyraError.memory` if the example is too long.
    mutating func grow(by rows: Int) throws {
        length = length.saturatingAdding(rows)
        guard let maxLength, length > maxLength else { return }
        throw LyraError(.memory, "the example is longer than \(maxLength) tokens")
    }

    /// Tokenizes the text before a medium or an answer.
    mutating func endText() throws {
        let tokens = try tokenizer.encode(text)
        text = []
        guard !tokens.isEmpty else { return }
        try grow(by: tokens.count)
        add(.prompt(tokens))
    }

    mutating func add(vision grid: PatchGrid, merge: Int) throws {
        text.append(TextSegment(ChatTemplate.visionStart))
        try endText()
        try grow(by: grid.grid.time * (grid.grid.height / merge) * (grid.grid.width / merge))
        add(.vision(grid))
        text.append(TextSegment(ChatTemplate.visionEnd))
    }

    /// Ends the prompt, and adds the answer with the token that ends it.
    mutating func answer(_ answer: String) throws {
        try endText()
        let tokens = try tokenizer.encode([
            TextSegment(answer, allowSpecial: false), TextSegment(ChatTemplate.turnEnd),
        ])
        try grow(by: tokens.count)
        add(.answer(tokens))
    }
}
