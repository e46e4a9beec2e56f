import Lyra

/// What a session said in one turn.
struct SpokenTurn {
    var text = ""
    var tokens: [Int32] = []
    var units: [Int32] = []
}

extension Session {
    /// Steps to the end of the turn, showing how far it is; Ctrl-C stops it, and the speech of
    /// the words so far is completed.
    ///
    /// - Parameters:
    ///   - wave: gets the spoken answer
    ///   - echoes: whether text goes to stdout as it is made
    ///   - label: stands before what is shown of the progress
    func answer(into wave: WaveFile?, echoes: Bool, label: String = "") throws -> SpokenTurn {
        let bar = ProgressBar()
        defer { bar.clear() }
        var text: [UInt8] = []
        var events = SessionEvents()
        var isStopped = false
        while !events.contains(.end) {
            // Once: asked a second time, the session would not complete the speech of the words so far.
            if Interrupt.isRequested, !isStopped {
                control.stop()
                isStopped = true
            }
            events = try step()
            switch progress.phase {
            case .encode: bar.show(label + "encoding", progress.done, progress.total)
            case .prefill: bar.show(label + "reading", progress.done, progress.total)
            case .answer where !label.isEmpty: bar.show(label + "answering", progress.done, 0)
            case .answer, .idle: bar.clear()
            }
            let new = readText()
            text += new
            if echoes { try printOutput(String(decoding: new, as: UTF8.self)) }
            try wave?.append(readAudio())
        }
        return SpokenTurn(text: String(decoding: text, as: UTF8.self), tokens: readTokens(), units: readUnits())
    }
}
