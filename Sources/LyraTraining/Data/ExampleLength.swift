import LyraBase
import LyraMedia
import LyraModel

/// Estimates of lengths, so that examples of similar length share a batch.
extension ExampleBuilder {
    /// UTF-8 bytes of a token, on average.
    private static let bytesPerToken = 4
    /// The size that an image is taken to have if the beginning of its file does not tell.
    private static let usualImage = PixelSize(width: 1024, height: 1024)

    /// About as many rows as the example will have, from its texts and the headers of its media files. A medium that
    /// cannot be opened counts as 0; it is reported when the example is made.
    func estimatedLength(of conversation: ExampleConversation) -> Int {
        conversation.turns.reduce(0) { sum, turn in
            turn.content.reduce(sum.saturatingAdding(tokens(turn.answer))) { sum, part in
                sum.saturatingAdding((try? rows(of: part)) ?? 0)
            }
        }
    }

    private func tokens(_ text: String) -> Int { text.utf8.count / Self.bytesPerToken }

    func rows(of part: ExampleConversation.Part) throws -> Int {
        switch part {
        case .text(let text): return tokens(text)
        case .image(let path):
            let preparation = preparation(try checkpoint.visionNetworks.get())
            let size = try ImageDecoder.size(reader: FileByteReader(regularFile: path), name: path)
            return preparation.tokens(ofImage: size ?? Self.usualImage)
        case .video(let path):
            let preparation = try checkpoint.visionNetworks.get().preparation
            let video = try openVideo(path)
            // The number of frames is not known before all packets are read. Most videos have enough.
            return preparation.tokens(
                ofVideo: PixelSize(width: video.width, height: video.height), frames: options.maxFrames)
        case .speech(let path):
            let networks = try checkpoint.speechNetworks.get()
            let windows = expectedWindows(try openSound(path), networks) ?? 1
            return windows.saturatingMultiplying(by: networks.windowTokens)
        case .sound: return SoundClips.clips
        }
    }
}
