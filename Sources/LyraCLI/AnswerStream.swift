import Lyra

/// The output of a session for one turn.
struct TurnOutput {
    var text = ""
    var tokens: [Int32] = []
    var units: [Int32] = []
}

extension Session {
    /// Steps to the end of the turn and shows its progress. Ctrl-C stops the answer; the speech of the text so far is
    /// still completed.
    ///
    /// - Parameters:
    ///   - wave: file for the spoken answer
    ///   - echoes: whether to print text to stdout as it is generated
    ///   - label: prefix of the progress display
    func answer(into wave: WaveWriter?, echoes: Bool, label: String = "") throws -> TurnOutput {
        let bar = ProgressBar()
        defer { bar.clear() }
        var text = ""
        var isStopped = false
        var events = try answer().makeIterator()
        while true {
            // Stop only once: a second stop would not complete the speech of the text so far.
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
        return TurnOutput(text: text, tokens: readTokens(), units: readUnits())
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
