import LyraBase

/// Reads references with their hypotheses: the output of `lyra eval wer --json`, or JSON lines with a text and a
/// hypothesis, also under the keys of the published evaluation.
package enum TranscriptFile {
    /// - Throws: `LyraError` that names the file and the line.
    package static func read(_ path: String, _ normalizer: TextNormalizer) throws -> [Transcript] {
        var transcripts: [Transcript] = []
        try TextLines.read(path) { text, place in
            let line = try TextLines.decode(Line.self, text, place)
            for line in line.lines ?? [line] { transcripts.append(try line.transcript(normalizer, place)) }
        }
        return transcripts
    }

    private struct Line: Decodable {
        var audio: String?
        var speech: String?
        var text: String?
        var hypothesis: String?
        var gt_text: String?
        var lines: [Line]?

        func transcript(_ normalizer: TextNormalizer, _ place: String) throws -> Transcript {
            guard let text, let other = hypothesis ?? gt_text else {
                throw LyraError(
                    .format, "\(place): \"text\" and \"hypothesis\" are needed, or \"gt_text\" and \"text\"")
            }
            let isPublished = hypothesis == nil
            return Transcript(
                name: audio ?? speech ?? "", text: isPublished ? other : text,
                transcription: isPublished ? text : other, normalizer)
        }
    }
}
