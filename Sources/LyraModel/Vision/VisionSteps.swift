/// The steps of encoding an image or video, in order:
///
/// 1. embed every chunk;
/// 2. in each layer and frame pair: the keys and values of every chunk, then the layer's output of every chunk;
/// 3. merge every chunk.
///
/// A chunk is a range of rows within a frame pair.
struct VisionSteps {
    struct Step {
        enum Work {
            case embed
            case keysValues(layer: Int)
            case layer(Int)
            case merge
        }

        let work: Work
        /// First row of the frame pair, as an index over all pairs.
        let pairStart: Int
        /// The chunk's rows, as indices over all pairs.
        let rows: Range<Int>
        /// The chunk's rows, as indices within the frame pair.
        var rowsInPair: Range<Int> { rows.lowerBound - pairStart..<rows.upperBound - pairStart }
    }

    private let pairs: Int
    /// Number of rows of a frame pair.
    private let pairRows: Int
    private let layers: Int
    /// Number of chunks of a frame pair.
    private let chunks: Int
    /// Number of rows that the merger combines into one token; merge chunks never split such a group.
    private let group: Int

    init(pairs: Int, pairRows: Int, chunkRows: Int, layers: Int, group: Int) {
        (self.pairs, self.pairRows, self.layers, self.group) = (pairs, pairRows, layers, group)
        chunks = (pairRows + chunkRows - 1) / chunkRows
    }

    /// Number of chunks of all pairs: the number of steps that embed, and of steps that merge.
    private var allChunks: Int { pairs * chunks }

    var count: Int { allChunks * (2 * layers + 2) }

    subscript(index: Int) -> Step {
        guard index >= allChunks else { return step(.embed, index / chunks, index % chunks) }
        let (layer, rest) = (index - allChunks).quotientAndRemainder(dividingBy: 2 * allChunks)
        guard layer < layers else { return step(.merge, rest / chunks, rest % chunks) }
        let (pair, place) = rest.quotientAndRemainder(dividingBy: 2 * chunks)
        return place < chunks
            ? step(.keysValues(layer: layer), pair, place) : step(.layer(layer), pair, place - chunks)
    }

    private func step(_ work: Step.Work, _ pair: Int, _ chunk: Int) -> Step {
        let group = if case .merge = work { self.group } else { 1 }
        let groups = pairRows / group, start = pair * pairRows
        let rows = start + chunk * groups / chunks * group..<start + (chunk + 1) * groups / chunks * group
        return Step(work: work, pairStart: start, rows: rows)
    }

    /// Whether exactly the embedding steps come before `index`.
    func areEmbedded(before index: Int) -> Bool { index == allChunks }
}
