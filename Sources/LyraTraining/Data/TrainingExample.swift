import LyraBase
import LyraMedia
import LyraTensor

/// An example as the language model sees it: a conversation whose media are decoded and whose texts are tokenized.
package struct TrainingExample: Sendable {
    /// A stretch of the conversation. All stretches follow one another in the decoder's input.
    package enum Piece: Sendable {
        /// Tokens that the model reads.
        case prompt([Int32])
        /// Tokens that the model should produce, with the `<|im_end|>` that ends them.
        case answer([Int32])
        /// An image or a video.
        case vision(PatchGrid)
        /// A recording of speech: mel features [mels, frames] of each window.
        case speech(windows: [Tensor])
        /// Another sound: features of each clip.
        case sound(clips: [Tensor])
    }

    /// Begins with a prompt.
    package let pieces: [Piece]
    /// The tokens of what the first speech says; nil if the data do not tell, or if only the beginning of the speech is
    /// used.
    package let transcript: [Int32]?
    /// The speech units of the last answer; nil if the data do not tell.
    package let units: [Int32]?
    /// Where the example stands, for messages: "train.json:12: item 3".
    package let origin: String
    /// Rows of the decoder's input, or as many as can be told before the networks run. Batches hold examples of similar
    /// length.
    package let length: Int

    /// Bytes of memory of the decoded media.
    var mediaBytes: Int {
        pieces.reduce(0) { sum, piece in
            switch piece {
            case .prompt, .answer: sum
            case .vision(let grid): sum.saturatingAdding(4 * grid.patches.count)
            case .speech(let tensors), .sound(let tensors):
                tensors.reduce(sum) { $0.saturatingAdding(4 * $1.count) }
            }
        }
    }
}
