import Foundation
import LyraBase
import LyraModel
import LyraTools
import Testing

@testable import LyraTraining

/// A checkpoint of random weights whose speech tower reads windows of one second, and data for runs that train its
/// parts. Removed with the last reference.
final class PartRun {
    /// Labels of windows and of pictures.
    static let labels = 4
    /// Rows that the speech tower makes of a window.
    static let positions = 50

    let files: MediaFiles
    /// The checkpoint that runs start from.
    let model: String

    init() throws {
        files = try MediaFiles()
        model = files.path("start")
        var preset = ModelPreset.tiny.limited(toLayers: 2)
        preset.whisper.positions = Self.positions
        try CheckpointWriter(directory: model, preset: preset, seed: 1).write()
        _ = try files.write(
            """
            {"feature_extractor_type": "WhisperFeatureExtractor", "feature_size": 80, "hop_length": 160,
             "n_fft": 400, "chunk_length": 1, "n_samples": 16000, "nb_max_frames": 100, "sampling_rate": 16000}
            """, to: "start/model_zoo/audio/whisper/preprocessor_config.json")
    }

    /// A run of the objective on the data, one thread, without a warm-up.
    func recipe(_ objective: TrainingObjective, data: String, output: String, steps: Int) -> TrainingRecipe {
        var recipe = TrainingRecipe(stage: .pretrain, objective: objective)
        (recipe.model, recipe.data, recipe.output) = (model, [data], files.path(output))
        (recipe.batch.size, recipe.batch.steps, recipe.batch.badShare) = (8, steps, 0)
        (recipe.threads, recipe.optimizer.warmup, recipe.saving.kept) = (1, 0, 10)
        return recipe
    }

    static func head(_ name: String, _ kind: TrainingRecipe.Head.Kind) -> TrainingRecipe.Head {
        var head = TrainingRecipe.Head()
        (head.name, head.kind, head.labels) = (name, kind, labels)
        return head
    }

    // MARK: Data

    /// Windows of two short tones each, in silence, `count` at most 8: the tones' rows, and the sequence of both.
    ///
    /// The tones are short because CTC needs rows that differ: of n rows that are alike, each with the probability p of
    /// the label and 1 - p of the blank, (1 - p)ⁿ⁻¹ · n · p is largest at p = 1 / n, where training would stay.
    func windows(_ count: Int) throws -> String {
        let lines = try (0..<count).map { index in
            let tones = [index % 4, (index + 1 + index / 4) % 4]
            let path = try recording(tones: tones, samples: 1000, before: 2000, after: 5000, to: "window\(index).wav")
            // A row is 320 samples: the tones are in rows 6 to 9, and 31 to 34.
            let rows = "[-100, 6], [\(tones[0]), 4], [-100, 21], [\(tones[1]), 4]"
            return #"{"speech": "\#(path)", "row_labels": {"phone": [\#(rows)]}, "#
                + #""sequence_labels": {"word": \#(tones)}}"#
        }
        return try files.write(lines.joined(separator: "\n"), to: "windows.jsonl")
    }

    /// Tones of two frames each for a vocoder, and the unit of each frame.
    func utterances(_ count: Int) throws -> String {
        let lines = try (0..<count).map { index in
            let tones = (0..<4).map { (index + $0 * $0) % 4 }
            let path = try recording(tones: tones, samples: 640, to: "utterance\(index).wav")
            return #"{"tgt_speech": "\#(path)", "tgt_units": \#(tones.flatMap { [$0, $0] })}"#
        }
        return try files.write(lines.joined(separator: "\n"), to: "utterances.jsonl")
    }

    /// Tones with silence around each. Lengths are in samples.
    private func recording(
        tones: [Int], samples: Int, before: Int = 0, after: Int = 0, to name: String
    ) throws -> String {
        try files.recording(
            tones.flatMap { tone in
                // 300, 600, 1200 and 2400 Hz
                let step = 2 * Double.pi * Double(300 << tone) / 16_000
                let sound = (0..<samples).map { Float(0.3 * sin(step * Double($0))) }
                return [Float](repeating: 0, count: before) + sound + [Float](repeating: 0, count: after)
            }, to: name)
    }

    /// Pictures of 56 × 56 pixels, two tokens down and two across; each half has a label.
    func pictures(_ count: Int) throws -> String {
        let lines = try (0..<count).map { index in
            let path = try files.image(width: 56, height: 56 + 28 * (index % 2), to: "picture\(index).bmp")
            return #"{"image": "\#(path)", "row_labels": {"place": [0, 1, 2, 3]}}"#
        }
        return try files.write(lines.joined(separator: "\n"), to: "pictures.jsonl")
    }
}
