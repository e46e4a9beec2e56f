import LyraBase
import LyraFormats
import LyraMedia

extension LonePart {
    /// The features and the encoder of a Whisper directory, or of the speech tower of a checkpoint's directory or a
    /// built-in model.
    ///
    /// - Parameter check: called while parts are read; throws to stop
    package static func speechEncoder(
        _ directory: String, check: @escaping () throws -> Void
    ) throws -> (mel: LogMelSpectrogram, encoder: WhisperEncoder) {
        guard !BuiltInModel.isName(directory) else { return try speechEncoder(ofCheckpoint: directory, check) }
        let files = DirectoryFiles(directory)
        guard try files.has("config.json") else {
            throw LyraError(
                .missing, "\(directory): there is no config.json; expected a Whisper directory or a checkpoint")
        }
        let configuration = NamedBytes(name: files.path("config.json"), bytes: try files.text("config.json"))
        guard try configuration.json()["d_model"] != nil else {
            return try speechEncoder(ofCheckpoint: directory, check)
        }
        let whisper = try speechTower(directory)
        let features = try MelConfiguration(
            NamedBytes(
                name: files.path("preprocessor_config.json"), bytes: try files.text("preprocessor_config.json")))
        let table = TensorTable(origin: directory, tensors: try files.tensors())
        guard let tensors = table.subtable(under: ["encoder.", "model.encoder.", ""], holding: "conv1.weight") else {
            throw LyraError(.format, "\(directory): there is no tensor encoder.conv1.weight; is it a Whisper model?")
        }
        return (try LogMelSpectrogram(features), try WhisperEncoder(tensors, whisper, progress: check))
    }

    private static func speechEncoder(
        ofCheckpoint path: String, _ check: @escaping () throws -> Void
    ) throws -> (mel: LogMelSpectrogram, encoder: WhisperEncoder) {
        var options = CheckpointOptions()
        options.progress = { _, _ in try check() }
        let networks = try Checkpoint.open(path, options: options).speechNetworks.get()
        return (networks.mel, networks.encoder)
    }
}
