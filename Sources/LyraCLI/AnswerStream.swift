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
        var text = ""
        var isStopped = false
        var events = try answer().makeIterator()
        while true {
            // Once: asked a second time, the session would not complete the speech of the words so far.
            if Interrupt.isRequested, !isStopped {
                control.stop()
                isStopped = true
            }
            guard let event = try events.next() else { break }
            show(progress, on: bar, label: label)
            switch event {
            case .text(let new):
                text += new
                if echoes { try printOutput(new) }
            case .audio(let samples): try wave?.append(samples)
            case .progress, .end: break
            }
        }
        return SpokenTurn(text: text, tokens: readTokens(), units: readUnits())
    }

    private func show(_ progress: SessionProgress, on bar: ProgressBar, label: String) {
        switch progress.phase {
        case .encode: bar.show(label + "encoding", progress.done, progress.total)
        case .prefill: bar.show(label + "reading", progress.done, progress.total)
        case .answer where !label.isEmpty: bar.show(label + "answering", progress.done, 0)
        case .answer, .idle: bar.clear()
        }
    }
}
