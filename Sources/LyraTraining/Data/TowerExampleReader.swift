import LyraBase
import LyraDatasets
import LyraModel
import LyraTensor

/// Makes a tower's examples of items with labels. The media are decoded as for conversations.
struct TowerExampleReader: ItemReading {
    enum Tower: Sendable {
        case speech
        case vision
    }

    let media: ExampleBuilder
    let tower: Tower
    /// For training; nil shows the features as they are.
    let masking: SpectrumMasking?

    func estimatedLength(of item: DatasetItem) throws -> Int {
        switch tower {
        case .speech: try media.checkpoint.speechNetworks.get().encoder.configuration.positions
        case .vision: try media.rows(of: picture(of: item))
        }
    }

    /// - Throws: `LyraError.format` if the item has not exactly one medium for the tower; and as an `ExampleBuilder`.
    func example(_ item: DatasetItem, random: SplitMix64) throws -> TowerExample {
        TowerExample(
            input: try input(item, random), rowLabels: item.rowLabels, sequences: item.sequenceLabels,
            origin: item.place)
    }

    private func input(_ item: DatasetItem, _ random: SplitMix64) throws -> TowerExample.Input {
        switch tower {
        case .speech:
            let recordings = item.speech + item.longSpeech
            guard let path = recordings.first, recordings.count == 1 else {
                throw LyraError(
                    .format, "the item has \(recordings.count) recordings; a speech tower learns from items with one")
            }
            let (mel, frames) = try media.window(path)
            return .speech(try masking?(mel, frames: frames, random: random) ?? mel)
        case .vision:
            switch try picture(of: item) {
            case .video(let path): return .vision(try media.video(path))
            case .image(let path): return .vision(try media.image(path))
            case .text, .speech, .sound: throw LyraError(.format, "the item has no image")
            }
        }
    }

    private func picture(of item: DatasetItem) throws -> ExampleConversation.Part {
        let pictures = item.images.map { ExampleConversation.Part.image($0) } + item.videos.map { .video($0) }
        guard let picture = pictures.first, pictures.count == 1 else {
            throw LyraError(
                .format,
                "the item has \(pictures.count) images and videos; a vision tower learns from items with one")
        }
        return picture
    }
}
