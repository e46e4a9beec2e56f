import LyraBase
import LyraFormats
import LyraTensor

/// The parts of a model that can come from places of their own.
package enum ModelPart: Hashable, Sendable {
    /// Language model, speech generator and projectors, with the model's own texts.
    case main
    /// By the adapter's place in the list of them.
    case adapter(Int)
    /// The speech projector that was trained with an adapter.
    case adapterProjector(Int)
    case speechTower
    case visionTower
    case soundTower
    /// The checkpoint's own, or one that the caller named.
    case soundProjector
    case vocoder
}

/// The files of one part: small texts and tensors, by the names that the published layout gives them.
protocol PartFiles {
    /// The directory or file, for messages.
    var origin: String { get }
    /// What messages call the text of this name.
    func path(_ name: String) -> String
    /// - Throws: `LyraError.io` if the system does not say.
    func has(_ name: String) throws -> Bool
    /// - Throws: `LyraError.missing` if there is no such text; `.io` if it cannot be read; `.format` if it is too long; `.memory`.
    func text(_ name: String) throws -> GrowingBuffer<UInt8>
    /// - Throws: `LyraError` that names the file and what is wrong with it.
    func tensors() throws -> [String: StoredTensor]
    /// A file that `tensors` reads besides those that the tensors lie in, if it is there.
    var index: String? { get }
}

extension PartFiles {
    var index: String? { nil }
}

/// Where a model is opened from: a directory in the published layout, or one file.
protocol ModelSource {
    /// The directory or file, for messages.
    var origin: String { get }
    var main: any PartFiles { get }
    /// Configuration and tokenizer of a file that other programs made; nil for a model that has them as texts.
    var language: LanguageMetadata? { get }
    /// Every adapter, in the order that indexes them.
    func adapters() throws -> [AdapterFiles]
    /// - Parameters:
    ///   - part: `speechTower`, `visionTower` or `soundTower`
    ///   - name: what config.json calls it
    /// - Throws: `LyraError.io` if the system does not say whether it is there.
    func tower(_ part: ModelPart, _ name: String) throws -> TowerFiles
    /// The caller's, or else the one that is found; nil if there is none.
    ///
    /// - Parameter check: asked while it is looked for; throws to give up
    /// - Throws: `LyraError.missing` if there is none where the caller says, and what `check` throws.
    func vocoder(check: () throws -> Void) throws -> (any PartFiles)?
}

/// One adapter and, if it brought one, the projector trained with it.
struct AdapterFiles {
    var name: String
    var files: any PartFiles
    var projector: (any PartFiles)?
}

/// What there is of a tower.
struct TowerFiles {
    var tensors: (any PartFiles)?
    /// Its configurations, which a tower inside the checkpoint can have elsewhere, or not at all.
    var texts: (any PartFiles)?
    /// The places where it was looked for.
    var candidates: [String]

    /// The same for a message; the name in them comes from a file.
    var places: String {
        candidates.isEmpty ? "any path" : candidates.map { shown($0, limit: 1024) }.joined(separator: ", ")
    }
}

/// Everything of a model that opening it read: what a copy of it must hold.
package struct ModelContents {
    /// Texts under the names that `ModelPart.folder` puts before theirs.
    package var texts: [(name: String, bytes: GrowingBuffer<UInt8>)] = []
    package var tensors: [(part: ModelPart, tensors: [String: StoredTensor])] = []
    package var adapters: [String] = []
    /// All files that were read.
    package var files: Set<FileIdentity> = []
}

extension ModelPart {
    /// What stands before the names of a part's texts in one file.
    var folder: String {
        switch self {
        case .main, .soundProjector: ""
        case .adapter(let index), .adapterProjector(let index): "adapter.\(index)/"
        case .speechTower: "speech_tower/"
        case .visionTower: "vision_tower/"
        case .soundTower: "sound_tower/"
        case .vocoder: "vocoder/"
        }
    }
}
