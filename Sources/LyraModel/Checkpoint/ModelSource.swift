import LyraBase
import LyraFormats
import LyraTensor

/// The parts of a model that can have separate locations.
package enum ModelPart: Hashable, Sendable {
    /// Language model, speech generator and projectors, with the model's own texts.
    case main
    /// An adapter, by its index.
    case adapter(Int)
    /// The speech projector that was trained with an adapter.
    case adapterProjector(Int)
    case speechTower
    case visionTower
    case soundTower
    /// The checkpoint's own sound projector, or one that the caller named.
    case soundProjector
    case vocoder
}

/// The files of one part: small texts and tensors, under their names in the published layout.
protocol PartFiles {
    /// The directory or file, for messages.
    var origin: String { get }
    /// Path or key of the text with this name, for messages.
    func path(_ name: String) -> String
    /// - Throws: `LyraError.io` if the system cannot tell whether the text exists.
    func has(_ name: String) throws -> Bool
    /// - Throws: `LyraError.missing` if there is no such text; `.io` if it cannot be read; `.format` if it is too long;
    ///   `.memory` if there is no room.
    func text(_ name: String) throws -> GrowingBuffer<UInt8>
    /// - Throws: `LyraError` that names the file and the fault.
    func tensors() throws -> [String: StoredTensor]
    /// The index file that `tensors` reads beside the tensor files, if there is one.
    var index: String? { get }
}

extension PartFiles {
    var index: String? { nil }
}

/// Where a model is opened from: a directory in the published layout, or a single file.
protocol ModelSource {
    /// The directory or file, for messages.
    var origin: String { get }
    var main: any PartFiles { get }
    /// Configuration and tokenizer from the metadata of another program's file; nil for a model that stores them as
    /// texts.
    var language: LanguageMetadata? { get }
    /// All adapters in index order.
    func adapters() throws -> [AdapterFiles]
    /// - Parameters:
    ///   - part: `speechTower`, `visionTower` or `soundTower`
    ///   - name: the tower's name in config.json, or `LyraConfiguration.ownDirectory`
    ///   - isInside: whether the tower's tensors are among the main part's, so that only its texts are needed
    /// - Throws: `LyraError.io` if the system cannot tell whether the tower exists.
    func tower(_ part: ModelPart, _ name: String, isInside: Bool) throws -> TowerFiles
    /// The caller's vocoder, or else the first one found; nil if there is none.
    ///
    /// - Parameter check: called during the search; throws to abort
    /// - Throws: `LyraError.missing` if there is no vocoder at the caller's path, and any error of `check`.
    func vocoder(check: () throws -> Void) throws -> (any PartFiles)?
}

/// An adapter and the projector that was trained with it, if there is one.
struct AdapterFiles {
    var name: String
    var files: any PartFiles
    var projector: (any PartFiles)?
}

/// The available files of a tower.
struct TowerFiles {
    var tensors: (any PartFiles)?
    /// The tower's configurations. For a tower inside the checkpoint they can lie elsewhere or be absent.
    var texts: (any PartFiles)?
    /// The places that were searched.
    var candidates: [String]

    /// The candidates as messages show them. Their names come from a file.
    var places: String {
        candidates.isEmpty ? "any path" : candidates.map { shown($0, limit: 1024) }.joined(separator: ", ")
    }
}

/// Everything that was read to open a model; a conversion writes it.
package struct ModelContents {
    /// Texts, named with their `ModelPart.folder`.
    package var texts: [(name: String, bytes: GrowingBuffer<UInt8>)] = []
    package var tensors: [(part: ModelPart, tensors: [String: StoredTensor])] = []
    package var adapters: [String] = []
    /// All files that were read.
    package var files: Set<FileIdentity> = []
}

extension ModelPart {
    /// Prefix of a part's text names in a single file.
    package var folder: String {
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
