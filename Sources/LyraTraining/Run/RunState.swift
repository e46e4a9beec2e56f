import LyraBase
import LyraFormats
import LyraTensor

/// A run's saved state: one safetensors file with the trained parameters (`parameter.NAME`), the optimizer's moments
/// (`first.NAME`, `second.NAME`), all F32, and the `RunRecord` as JSON in the metadata.
package enum RunState {
    private static let recordKey = "lyra_run"
    private static let kinds = (parameter: "parameter.", first: "first.", second: "second.")

    /// Writes a state. The file appears under its name when it is complete and on disk.
    ///
    /// - Throws: `LyraError.io` if it cannot be written, for example on a full disk; the unfinished file is removed.
    package static func write(
        _ record: RunRecord, _ parameters: [TrainedParameter], _ optimizer: Optimizer, to path: String
    ) throws {
        let specs = parameters.flatMap { trained in
            [kinds.parameter, kinds.first, kinds.second].map { kind in
                TensorSpec(name: kind + trained.name, type: .float32, shape: trained.parameter.shape)
            }
        }
        var record = record
        record.optimizerSteps = parameters.map { optimizer.moments(of: $0.name)?.steps ?? 0 }
        let metadata = ["format": "pt", recordKey: try JSONText.encode(record)]
        let writer = try SafetensorsWriter(path: path, tensors: specs, metadata: metadata)
        for trained in parameters {
            try write(trained.parameter, kinds.parameter + trained.name, writer)
            guard let moments = optimizer.moments(of: trained.name) else { continue }
            for (kind, tensor) in [(kinds.first, moments.first), (kinds.second, moments.second)] {
                try tensor.withValues { values in
                    try writer.write(
                        kind + trained.name, UnsafeRawBufferPointer(start: values, count: tensor.count * 4))
                }
            }
        }
        try writer.finish()
    }

    /// Writes the parameters alone, in the same way.
    package static func writeParameters(_ parameters: [TrainedParameter], to path: String) throws {
        let specs = parameters.map {
            TensorSpec(name: kinds.parameter + $0.name, type: .float32, shape: $0.parameter.shape)
        }
        let writer = try SafetensorsWriter(path: path, tensors: specs)
        for trained in parameters { try write(trained.parameter, kinds.parameter + trained.name, writer) }
        try writer.finish()
    }

    private static func write(_ parameter: TrainableParameter, _ name: String, _ writer: SafetensorsWriter) throws {
        try parameter.withValues {
            try writer.write(name, UnsafeRawBufferPointer(start: $0, count: parameter.count * 4))
        }
    }

    private struct Layout: Decodable { let version: Int }

    /// Reads the record of a state.
    ///
    /// - Throws: `LyraError.format` that names the file, if it is not a state or is damaged.
    package static func record(of file: Safetensors) throws -> RunRecord {
        guard let text = try file.metadata()[recordKey] else {
            throw LyraError(.format, "\(file.file.path): not a saved state of training: it has no \(recordKey)")
        }
        let bytes = Array(text.utf8), source = "\(file.file.path): \(recordKey)"
        let version = try bytes.withUnsafeBytes { try JSONText.decode(Layout.self, from: $0, source: source) }.version
        guard version == RunRecord.currentVersion else {
            throw LyraError(
                .unsupported,
                "\(file.file.path): a saved state of version \(version); this program reads "
                    + "\(RunRecord.currentVersion)")
        }
        let record = try bytes.withUnsafeBytes { try JSONText.decode(RunRecord.self, from: $0, source: source) }
        let counts = [
            record.step, record.position, record.examples, record.tokens, record.skippedExamples,
            record.skippedUpdates, record.failuresInARow, record.validatedStep, record.bestStep ?? 0,
        ]
        guard (counts + record.optimizerSteps).allSatisfy({ (0...1 << 53).contains($0) }), record.seconds >= 0 else {
            throw LyraError(.format, "\(source): a number is out of range; the file is damaged")
        }
        return record
    }

    /// Sets parameters and moments to those of a state.
    ///
    /// - Throws: `LyraError.format` that names file and tensor, if the state is of other parameters.
    package static func restore(
        _ file: Safetensors, _ record: RunRecord, _ parameters: [TrainedParameter], _ optimizer: inout Optimizer
    ) throws {
        let path = file.file.path
        let counts = [record.optimizerSteps.count, record.reached?.count ?? parameters.count]
        guard file.tensors.count == parameters.count * 3, counts.allSatisfy({ $0 == parameters.count }) else {
            throw LyraError(
                .format,
                "\(path): the state has \(file.tensors.count / 3) trained parameters, but the run trains "
                    + "\(parameters.count)")
        }
        for (trained, steps) in zip(parameters, record.optimizerSteps) {
            let first = try tensor(file, kinds.first, trained), second = try tensor(file, kinds.second, trained)
            try optimizer.restore(
                Optimizer.Moments(steps: steps, first: first.values(), second: second.values()), of: trained.name)
        }
        try restoreParameters(file, parameters)
    }

    /// Sets the parameters alone.
    package static func restoreParameters(_ file: Safetensors, _ parameters: [TrainedParameter]) throws {
        for trained in parameters {
            let values = try tensor(file, kinds.parameter, trained).values()
            try values.withValues { values in
                trained.parameter.withValues { $0.update(from: values, count: trained.parameter.count) }
            }
        }
    }

    private static func tensor(
        _ file: Safetensors, _ kind: String, _ trained: TrainedParameter
    ) throws -> StoredTensor {
        guard let stored = file.tensor(kind + trained.name) else {
            throw LyraError(
                .format, "\(file.file.path): the state lacks \(shown(kind + trained.name)), which the run trains")
        }
        guard stored.type == .float32, stored.shape == trained.parameter.shape else {
            throw LyraError(
                .format,
                "\(file.file.path): \(shown(stored.name)) is \(stored.typeName) \(stored.shape); the run needs F32 "
                    + "\(trained.parameter.shape)")
        }
        return stored
    }
}
