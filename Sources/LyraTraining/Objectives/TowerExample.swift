import LyraMedia
import LyraTensor

/// One input of a tower, with the labels of what is in it.
package struct TowerExample: Sendable {
    package enum Input: Sendable {
        /// Mel features of one window, [mels, frames].
        case speech(Tensor)
        /// An image or a video.
        case vision(PatchGrid)
    }

    package let input: Input
    /// By the name of the head: a label for each row of the tower's output, or `CrossEntropy.ignored`. Rows after the
    /// last label do not count.
    package let rowLabels: [String: [Int32]]
    /// By the name of the head: the sequence that all rows spell.
    package let sequences: [String: [Int32]]
    /// Where the example stands, for messages.
    package let origin: String

    /// Memory of the input in bytes.
    var mediaBytes: Int {
        switch input {
        case .speech(let mel): 4 * mel.count
        case .vision(let grid): 4 * grid.patches.count
        }
    }
}
