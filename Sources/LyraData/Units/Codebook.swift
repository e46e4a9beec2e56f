import LyraBase
import LyraFormats
import LyraTensor

/// The vectors to which frames of speech are rounded: a frame's speech unit is the number of the nearest.
///
/// As lyra writes it, a safetensors file with the tensor `centroids` [units, width] in F32, and metadata:
///
/// | key | value |
/// |---|---|
/// | `lyra_codebook` | version of this table: 1 |
/// | `features` | `log-mels`, `tower` or `stored` |
/// | `mel_bands` | for log-mels |
/// | `tower`, `layer` | for a tower: its directory's name, and the layer as in transformers' `hidden_states` |
/// | `frame_samples`, `sample_rate` | samples of a frame and their rate in Hz: 320, 16000 |
/// | `frames`, `seed` | how many frames it was trained on, and the seed |
package struct Codebook {
    /// [units, width]
    package let centroids: Tensor
    /// Of a codebook that lyra wrote; nil for another.
    package let features: Features?
    private let nearest: NearestCentroid

    /// What the frames were.
    package struct Features: Equatable, Sendable {
        package var kind: SpeechFrames.Kind
        /// The directory's name of a tower.
        package var tower: String?

        package init(kind: SpeechFrames.Kind, tower: String? = nil) { (self.kind, self.tower) = (kind, tower) }
    }

    package var units: Int { centroids.rows }
    package var width: Int { centroids.columns }

    /// The most units of a codebook, and the most numbers of a centroid.
    private static let limits = (units: 1 << 20, width: 1 << 16)

    package init(centroids: Tensor, features: Features?) throws {
        (self.centroids, self.features) = (centroids, features)
        nearest = try NearestCentroid(centroids)
    }

    // MARK: Files

    /// Opens a codebook that lyra wrote, or the centroids of another program: a .npy file with a matrix [units, width],
    /// or a safetensors file with one such tensor.
    ///
    /// - Throws: `LyraError` that names the file; for a pickle it says how to convert it.
    package static func open(_ path: String) throws -> Codebook {
        let start = try MappedFile(path: path)
        let first = withExtendedLifetime(start) { Array(start.bytes.prefix(9)) }
        if first.starts(with: NumpyArray.magic) {
            return try Codebook(centroids: checked(NumpyArray.matrix(path: path), path), features: nil)
        }
        guard !isPickle(first) else {
            throw LyraError(
                .unsupported,
                "\(path): a pickle, as joblib and scikit-learn write it; lyra does not run pickles. Convert it in Python: "
                    + "import joblib, numpy; numpy.save('codebook.npy', joblib.load('FILE').cluster_centers_)")
        }
        let file = try Safetensors(path: path)
        let matrices = file.tensors.values.filter { $0.shape.count == 2 }
        guard let tensor = file.tensor("centroids") ?? (matrices.count == 1 ? matrices[0] : nil),
            tensor.shape.count == 2
        else {
            throw LyraError(
                .format, "\(path): there is no matrix named centroids, and not exactly one matrix of another name")
        }
        let metadata = try file.metadata()
        return try Codebook(centroids: checked(tensor.values(), path), features: features(metadata, path))
    }

    /// Pickles, compressed ones too, and zip archives: what joblib, pickle and torch.save write.
    private static func isPickle(_ first: [UInt8]) -> Bool {
        // A safetensors file begins with the length of its header, which is an object.
        if first.count == 9, first[8] == UInt8(ascii: "{") { return false }
        let starts: [[UInt8]] = [[0x80], [0x78], [0x1F, 0x8B], Array("PK".utf8), Array("BZ".utf8), [0xFD, 0x37]]
        return starts.contains { first.starts(with: $0) }
    }

    private static func checked(_ centroids: Tensor, _ path: String) throws -> Tensor {
        guard (1...limits.units).contains(centroids.rows), (1...limits.width).contains(centroids.columns) else {
            throw LyraError(.format, "\(path): a matrix \(centroids.shape) is not a codebook")
        }
        try centroids.withValues { values in
            for index in 0..<centroids.count where !(abs(values[index]) < 1e15) {
                throw LyraError(.format, "\(path): unit \(index / centroids.columns) has the number \(values[index])")
            }
        }
        return centroids
    }

    private static func features(_ metadata: [String: String], _ path: String) throws -> Features? {
        guard let version = metadata["lyra_codebook"] else { return nil }
        func number(_ key: String) throws -> Int {
            guard let number = metadata[key].flatMap({ Int($0) }) else {
                throw LyraError(.format, "\(path): the metadata lack a whole number \(key)")
            }
            return number
        }
        guard version == "1" else {
            throw LyraError(.unsupported, "\(path): a codebook of version \(shown(version)); use a newer lyra")
        }
        guard try number("frame_samples") == SpeechFrames.samples, try number("sample_rate") == SpeechFrames.sampleRate
        else {
            throw LyraError(.unsupported, "\(path): its frames are not \(SpeechFrames.samples) samples at 16 kHz")
        }
        switch metadata["features"] {
        case "log-mels": return Features(kind: .logMels(bands: try number("mel_bands")))
        case "tower": return Features(kind: .tower(layer: try number("layer")), tower: metadata["tower"])
        case "stored": return Features(kind: .stored)
        default: throw LyraError(.format, "\(path): the metadata do not say what features it is of")
        }
    }

    /// Writes the codebook; the file appears when it is complete.
    ///
    /// - Parameters:
    ///   - frames: how many it was trained on
    ///   - seed: of the training
    package func write(to path: String, frames: Int, seed: UInt64) throws {
        var metadata = [
            "format": "pt", "lyra_codebook": "1", "frame_samples": "\(SpeechFrames.samples)",
            "sample_rate": "\(SpeechFrames.sampleRate)", "frames": "\(frames)", "seed": "\(seed)",
        ]
        switch features?.kind {
        case .logMels(let bands)?: (metadata["features"], metadata["mel_bands"]) = ("log-mels", "\(bands)")
        case .tower(let layer)?: (metadata["features"], metadata["layer"]) = ("tower", "\(layer)")
        case .stored?, nil: metadata["features"] = "stored"
        }
        metadata["tower"] = features?.tower.map { SystemPath.printable($0) }
        let spec = TensorSpec(name: "centroids", type: .float32, shape: [units, width])
        let writer = try SafetensorsWriter(path: path, tensors: [spec], metadata: metadata)
        try centroids.withValues {
            try writer.write(
                spec.name, UnsafeRawBufferPointer(start: $0, count: centroids.count * MemoryLayout<Float>.stride))
        }
        try writer.finish()
    }

    // MARK: Units

    /// The unit of each frame [frames, width].
    package func units(of frames: Tensor) throws -> [Int32] {
        guard frames.columns == width else {
            throw LyraError(
                .format, "frames of \(frames.columns) numbers do not fit a codebook of \(width)")
        }
        return try nearest(frames).indices
    }
}
