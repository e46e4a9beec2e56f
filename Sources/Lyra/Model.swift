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

/// How much a message matters.
public enum LogLevel: Int32, Sendable {
    /// Changes nothing: a model was opened, a turn was dropped because it was cancelled while it was fed.
    case info = 1
    /// The answer may differ from what is expected: a part of the model is missing, a recording is silent.
    case warning = 2
}

/// How to open a model.
public struct ModelOptions {
    /// Where to look for towers and the vocoder after the places that the checkpoint names.
    public var towersDirectory: String?
    /// The vocoder's file or its directory; nil finds it beside the towers.
    public var vocoder: String?
    /// A file with the sound projector: no published checkpoint carries one. Nil takes the checkpoint's own.
    public var soundProjector: String?
    /// How exactly to multiply; nil is exact, and fast for a language model with quantized weights.
    public var precision: Precision?
    /// Threads that the process computes with; nil is the number of processors it may use. One pool serves all models.
    public var threads: Int?
    /// Receives messages for a person while the model is opened and from its sessions. Runs on the thread that called
    /// lyra, so on several threads at once if several use sessions.
    public var log: @Sendable (LogLevel, String) -> Void = { _, _ in }
    /// Reports how many parts, mostly layers, are open, and of how many; throw to give up.
    public var progress: (_ done: Int, _ total: Int) throws -> Void = { _, _ in }

    public init() {}
}

/// The weights of a Lyra checkpoint. Immutable: any number of sessions on any threads share it.
public final class Model: Sendable {
    public let checkpoint: Checkpoint
    let log: @Sendable (LogLevel, String) -> Void

    /// Opens a checkpoint directory and its towers, or a GGUF file with all of them. Weights are mapped, not copied,
    /// except quantized ones, which are packed in memory.
    ///
    /// - Throws: `LyraError` that names the file and what is wrong with it.
    public init(path: String, options: ModelOptions = ModelOptions()) throws {
        var opening = CheckpointOptions()
        opening.towers = options.towersDirectory
        opening.vocoder = options.vocoder
        opening.soundProjector = options.soundProjector
        opening.precision = options.precision
        log = options.log
        opening.note = { options.log(.warning, $0) }
        opening.progress = options.progress
        // Before opening, which packs weights with them.
        let before = lk_threads()
        lk_set_threads(Int32(clamping: options.threads ?? 0))
        do {
            // A reader's callback may open a model within another session's step.
            checkpoint = try Interruption.never { try Checkpoint.open(path, options: opening) }
        } catch {
            lk_set_threads(before)
            throw error
        }
        BufferPool.trim()
        log(.info, "\(path): opened: \(summary)")
    }

    /// What the log says of an open model.
    private var summary: String {
        let parts = checkpoint.inventory
        let parameters = parts.reduce(0) { $0 + $1.parameters }, bytes = parts.reduce(0) { $0 + $1.bytes }
        return "\(parameters) parameters in \(bytes) bytes, \(checkpoint.decoder.layerCount) layers; computes with "
            + "\(String(cString: lk_isa_name(lk_current_isa()))) on \(lk_threads()) threads"
    }

    /// Takes parts that were put together in memory.
    ///
    /// - Parameter log: as in `ModelOptions`
    public init(checkpoint: Checkpoint, log: @escaping @Sendable (LogLevel, String) -> Void = { _, _ in }) {
        (self.checkpoint, self.log) = (checkpoint, log)
    }

    public var hearsSpeech: Bool { checkpoint.speechInput.isPresent }
    /// Whether images and videos can be fed.
    public var sees: Bool { checkpoint.visionInput.isPresent }
    /// Whether sound other than speech can be fed.
    public var hearsSound: Bool { checkpoint.soundInput.isPresent }
    /// Hz of spoken answers; nil if the model does not speak.
    public var audioSampleRate: Int? {
        if speaks, case .present(let vocoder) = checkpoint.vocoder { vocoder.sampleRate } else { nil }
    }
    public var speaks: Bool { checkpoint.generator != nil && checkpoint.vocoder.isPresent }
}
