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
    /// No effect on answers: a model was opened, or a turn that was being fed was cancelled and discarded.
    case info = 1
    /// The answer may differ from the expected one: a part of the model is missing, or a recording is silent.
    case warning = 2
}

/// How to open a model.
public struct ModelOptions {
    /// Directory to search for towers and the vocoder, after the places that the checkpoint names.
    public var towersDirectory: String?
    /// The vocoder's file or its directory; nil finds it beside the towers.
    public var vocoder: String?
    /// A file with the sound projector, which no published checkpoint includes. Nil uses the checkpoint's own.
    public var soundProjector: String?
    /// Precision of products; nil means exact, or fast for a language model with quantized weights.
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

    /// Opens a checkpoint directory with its towers, or a GGUF file that contains everything. Weights are mapped, not
    /// copied, except quantized weights, which are packed in memory.
    ///
    /// - Throws: `LyraError` that names the file and the fault.
    public init(path: String, options: ModelOptions = ModelOptions()) throws {
        var opening = CheckpointOptions()
        opening.towers = options.towersDirectory
        opening.vocoder = options.vocoder
        opening.soundProjector = options.soundProjector
        opening.precision = options.precision
        log = options.log
        opening.note = { options.log(.warning, $0) }
        opening.progress = options.progress
        // Set before opening, because the threads pack the weights.
        let before = lk_threads()
        lk_set_threads(Int32(clamping: options.threads ?? 0))
        do {
            // Never interrupted: a reader's callback may open a model during a step, whose session can be cancelled.
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
