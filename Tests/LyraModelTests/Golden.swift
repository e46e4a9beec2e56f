import Foundation
import LyraFormats
import LyraTensor
import TestSupport
import Testing

@testable import LyraModel

/// One of the two small random checkpoints in Tests/Fixtures, with numbers for its stages that an independent
/// implementation in float32 computed. `a` has tied embeddings and its speech tower in the checkpoint; `b` is untied,
/// normalizes its speech tokens, and has the tower beside the checkpoint.
struct Golden: GoldenFixture, Sendable, CustomTestStringConvertible {
    let name: String
    let checkpoint: Checkpoint

    /// Float32 sums of a few thousand terms in another order differ by about 1e-6 of the largest. Twelve layers of such
    /// sums stay well below 1e-4, and any real error is far above.
    static let tolerance: Float = 1e-4

    static let a = Golden("a"), b = Golden("b")
    static let both = [a, b]

    private init(_ name: String) {
        self.name = name
        // A test fixture: without it no test can run.
        checkpoint = try! Checkpoint.open(Golden.path(name) + "/lyra")
    }

    var testDescription: String { name }

    func values(_ name: String) throws -> GoldenCase {
        try GoldenCase(file: file(name))
    }

    /// The prompt rows of a recording.
    func tokens(_ pcm: [Float], adapter: String) throws -> Tensor {
        let input = try checkpoint.speechNetworks.get()
        let index = try #require(checkpoint.adapterIndex(adapter))
        var rows: [Float] = []
        for start in stride(from: 0, through: pcm.count, by: input.windowSamples) {
            let encoded = try encode(Array(pcm[start..<min(start + input.windowSamples, pcm.count)]))
            rows += try input.project(encoded, adapter: index).values
        }
        let hidden = checkpoint.configuration.language.hiddenSize
        return try Tensor([rows.count / hidden, hidden], rows)
    }

    /// One window through features and encoder.
    func encode(_ window: [Float]) throws -> Tensor {
        let input = try checkpoint.speechNetworks.get()
        let features = try window.withUnsafeBufferPointer { try input.mel($0) }
        var encoding = try input.encoder.begin(mel: features)
        while true { if let encoded = try input.encoder.step(&encoding) { return encoded } }
    }
}

struct GoldenCase {
    let file: Safetensors

    func tensor(_ name: String) throws -> Tensor {
        let stored = try #require(file.tensors[name])
        return try Tensor(stored.shape, stored.floats())
    }

    func floats(_ name: String) throws -> [Float] { try tensor(name).values }

    func integers(_ name: String) throws -> [Int] {
        try #require(file.tensors[name]).integers()
    }

    /// [3, tokens] → positions
    func positions() throws -> [Position] {
        let all = try integers("out.positions").map { Int32($0) }
        let count = all.count / 3
        return (0..<count).map { Position(time: all[$0], height: all[count + $0], width: all[2 * count + $0]) }
    }
}

/// The largest difference, relative to the largest magnitude in `want`. NaN counts as infinite.
func difference(_ got: [Float], _ want: [Float]) -> Float {
    guard got.count == want.count else { return .infinity }
    let scale = want.reduce(0) { max($0, abs($1)) }
    let worst = zip(got, want).reduce(Float(0)) {
        let d = abs($1.0 - $1.1); return d.isNaN ? .infinity : max($0, d)
    }
    return worst / max(scale, .leastNormalMagnitude)
}

/// A prompt that is prefilled and answered greedily, with everything that the golden cases contain.
struct Greedy {
    var ids: [Int] = []
    var rows: [Float] = []
    var firstLogits: [Float] = []
    var caches: [KeyValueCache]
    var kept: [[Int]] = []
    var cacheRows: [Int] { caches.map(\.rows) }

    init(
        _ decoder: Decoder, _ embeddings: Tensor, _ positions: [Position], next: Int32, adapter: Int?,
        stop: Set<Int32>, limit: Int = 12, roles: [TokenRole] = [], extractor: Extractor? = nil
    ) throws {
        caches = decoder.makeCaches()
        var prefill = try Prefill(
            decoder, embeddings: embeddings, positions: positions, roles: roles,
            schedule: extractor.flatMap { ExtractionSchedule($0, layers: decoder.layerCount) })
        while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: adapter) }
        kept = prefill.kept.map { $0.elements.map { Int($0) } }
        var row = try prefill.lastRows(decoder)
        var position = next
        while true {
            rows += row.values
            let logits = try decoder.logits(row).values
            if ids.isEmpty { firstLogits = logits }
            let id = try #require(logits.indices.max { (logits[$0], $1) < (logits[$1], $0) })
            ids.append(id)
            if ids.count == limit || stop.contains(Int32(id)) { return }
            row = try decoder.decode(Int32(id), position: Position(position), caches: caches, adapter: adapter)
            position += 1
        }
    }
}
