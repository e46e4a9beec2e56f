/// The steps of encoding a picture or video, in order: embed all chunks; for each layer and frame, compute all keys and
/// values, then the layer's output; finally merge all chunks. A chunk is a range of rows within a frame.
struct VisionSteps {
    enum Kind {
        case embed
        case keysValues(layer: Int)
        case layer(Int)
        case merge
    }

    private let frames: Int
    private let frameRows: Int
    private let layers: Int
    /// Number of chunks in a frame.
    private let chunks: Int
    /// Number of rows that the merger combines into one token; merge chunks never split such a group.
    private let merged: Int

    init(frames: Int, frameRows: Int, chunkRows: Int, layers: Int, merged: Int) {
        (self.frames, self.frameRows, self.layers, self.merged) = (frames, frameRows, layers, merged)
        chunks = (frameRows + chunkRows - 1) / chunkRows
    }

    /// Number of chunks in all frames.
    private var allChunks: Int { frames * chunks }

    var count: Int { allChunks * (2 * layers + 2) }

    /// The work of the step at `index`.
    subscript(index: Int) -> Kind {
        if index < allChunks { return .embed }
        let (layer, rest) = (index - allChunks).quotientAndRemainder(dividingBy: 2 * allChunks)
        if layer == layers { return .merge }
        return rest % (2 * chunks) < chunks ? .keysValues(layer: layer) : .layer(layer)
    }

    /// Whether exactly the embedding steps come before `index`.
    func areEmbedded(before index: Int) -> Bool { index == allChunks }

    /// The first row of the step's frame.
    func frameStart(of index: Int) -> Int { frame(of: index) * frameRows }

    /// The rows of the step, as indices over all frames.
    func rows(of index: Int) -> Range<Int> {
        let start = frameStart(of: index), chunk = index % chunks
        // Merge chunks consist of whole groups.
        let unit = if case .merge = self[index] { merged } else { 1 }
        let units = frameRows / unit
        return start + chunk * units / chunks * unit..<start + (chunk + 1) * units / chunks * unit
    }

    private func frame(of index: Int) -> Int {
        let place = index % allChunks
        switch self[index] {
        case .embed, .merge: return place / chunks
        case .keysValues, .layer: return (index - allChunks) % (2 * allChunks) / (2 * chunks)
        }
    }
}
