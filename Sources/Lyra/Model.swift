@_exported import protocol LyraBase.ByteReader
@_exported import protocol LyraMedia.SampleSource
@_exported import struct LyraMedia.RGBImage
@_exported import struct LyraModel.Extractor
@_exported import enum LyraTensor.KeyValueType
@_exported import enum LyraTensor.Precision
@_exported import enum LyraBase.SystemPath
@_exported import func LyraBase.requireMemory
@_exported import func LyraBase.withSystemPath
@_exported import struct LyraBase.LyraError

import CKernels
import LyraBase
import LyraModel
import LyraTensor

/// Severity of a log message.
public enum LogLevel: Int32, Sendable {
    /// No effect on answers: a model was opened, or a turn was cancelled or stopped while it was fed, and is discarded.
    case info = 1
    /// The answer may differ from the expected one: a part of the model is missing, a configuration has an unknown key,
    /// or a recording is empty, silent or incomplete.
    case warning = 2
}

/// How to open a model.
public struct ModelOptions {
    /// Directory to search for towers and the vocoder, after the places that the checkpoint names.
    public var towersDirectory: String?
    /// The vocoder's file or its directory. Nil searches the checkpoint's directory, a `model_zoo` in it or its
    /// parents, and `towersDirectory`.
    public var vocoder: String?
    /// A file with the sound projector, which no published checkpoint includes. Nil uses the checkpoint's own.
    public var soundProjector: String?
    /// Directories of adapters outside the checkpoint, each with the adapter's name. One with the name of an adapter of
    /// the checkpoint takes its place.
    public var adapterDirectories: [(name: String, path: String)] = []
    /// Precision of products and of attention; nil means fast for a checkpoint with quantized weights, otherwise exact.
    public var precision: Precision?
    /// Number of compute threads of the process; nil is the number of available processors. All models share one pool.
    public var threads: Int?
    /// Receives messages for the user while the model is opened and from its sessions. Called on the thread that called
    /// lyra, so possibly on several threads at once.
    public var log: @Sendable (LogLevel, String) -> Void = { _, _ in }
    /// Receives the number of opened components (mostly layers) and their total; throw to abort.
    public var progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }

    public init() {}
}

/// The weights of a Lyra checkpoint. Immutable: any number of sessions on any threads share it.
public final class Model: Sendable {
    public let checkpoint: Checkpoint
    let log: @Sendable (LogLevel, String) -> Void

    /// Whether this build has the model `nano`.
    public static var hasNano: Bool { BuiltInModel.names.contains(BuiltInModel.nano) }

    /// Opens lyra:nano, a small model inside the library, if lyra was built with the package trait Nano.
    ///
    /// - Throws: `LyraError.missing` if this build does not have it.
    public static func nano(options: ModelOptions = ModelOptions()) throws -> Model {
        try Model(path: BuiltInModel.nano, options: options)
    }

    /// Opens a checkpoint directory with its towers, or a GGUF file: a complete model, or a language model alone. Plain
    /// weights stay mapped. Quantized weights, BF16 weights for `fast`, and 8-bit floats are copied to memory.
    ///
    /// - Parameter path: A path, or "lyra:nano" for the model inside the library, which `nano(options:)` opens, too. No
    ///   path begins with "lyra:"; a file of such a name has the path "./lyra:nano". A build without the model throws
    ///   `LyraError.missing`.
    /// - Throws: `LyraError` that names the file and the fault.
    public init(path: String, options: ModelOptions = ModelOptions()) throws {
        var opening = CheckpointOptions()
        opening.towers = options.towersDirectory
        opening.vocoder = options.vocoder
        opening.soundProjector = options.soundProjector
        opening.adapterDirectories = options.adapterDirectories
        opening.precision = options.precision
        log = options.log
        opening.note = { options.log(.warning, $0) }
        opening.progress = options.progress
        // Set before opening, because the threads pack the weights.
        let before = lk_threads()
        lk_set_threads(Int32(clamping: options.threads ?? 0))
        do {
            // Never interrupted: a reader may open a model during a step, and a cancel of that step's session must not
            // interrupt the opening.
            checkpoint = try Interruption.never { try Checkpoint.open(path, options: opening) }
        } catch {
            lk_set_threads(before)
            throw error
        }
        BufferPool.trim()
        log(.info, "\(path): opened: \(summary)")
    }

    /// The log message about an opened model.
    private var summary: String {
        let size = checkpoint.totalSize
        return "\(size.parameters) parameters in \(size.bytes) bytes, \(checkpoint.decoder.layerCount) layers; "
            + "computes with \(String(cString: lk_isa_name(lk_current_isa()))) on \(lk_threads()) threads"
    }

    /// Takes a checkpoint that was assembled in memory.
    ///
    /// - Parameter log: as in `ModelOptions`
    public init(checkpoint: Checkpoint, log: @escaping @Sendable (LogLevel, String) -> Void = { _, _ in }) {
        (self.checkpoint, self.log) = (checkpoint, log)
    }

    public var hearsSpeech: Bool { checkpoint.speechNetworks.isPresent }
    /// Whether images and videos can be fed.
    public var sees: Bool { checkpoint.visionNetworks.isPresent }
    /// Whether sound other than speech can be fed.
    public var hearsSound: Bool { checkpoint.soundNetworks.isPresent }
    /// Sample rate of spoken answers in Hz; nil if the model has no speech output.
    public var audioSampleRate: Int? {
        if speaks, case .present(let vocoder) = checkpoint.vocoder { vocoder.sampleRate } else { nil }
    }
    public var speaks: Bool { checkpoint.generator != nil && checkpoint.vocoder.isPresent }
}
