import LyraTensor

/// A piece of a recording, and the units that a vocoder should make it of.
package struct VocoderExample: Sendable {
    /// The speech unit of each frame of the piece.
    package let frames: [Int32]
    /// The recording's samples, in -1…1: [frames · samples per frame]
    package let target: Tensor
    /// The units of the whole recording without repetitions, and how many frames each lasts.
    package let units: [Int32]
    package let durations: [Int]
    /// Where the example stands, for messages.
    package let origin: String
}
