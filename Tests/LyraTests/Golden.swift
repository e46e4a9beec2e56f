import Foundation
import LyraFormats
import LyraModel
import LyraTensor
import LyraText
import Testing

@testable import Lyra

/// One of the two small random checkpoints in Tests/Fixtures, with whole turns that an independent implementation in
/// float32 computed.
struct Golden: Sendable, CustomTestStringConvertible {
    let name: String
    let model: Model

    static let a = Golden("a"), b = Golden("b")
    static let both = [a, b]

    private init(_ name: String) {
        self.name = name
        // A test fixture: without it no test can run.
        model = try! Model(path: Golden.path(name) + "/lyra")
    }

    var testDescription: String { name }
    var tokenizer: Tokenizer { model.checkpoint.tokenizer }

    static func path(_ name: String) -> String {
        URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent().path + "/Fixtures/" + name
    }

    private func stored(_ name: String, _ tensor: String) throws -> StoredTensor {
        let file = try Safetensors(path: "\(Golden.path(self.name))/cases/\(name).safetensors")
        return try #require(file.tensors[tensor])
    }

    func floats(_ name: String, _ tensor: String) throws -> [Float] { try stored(name, tensor).floats() }

    func integers(_ name: String, _ tensor: String) throws -> [Int32] {
        let stored = try stored(name, tensor)
        #expect(stored.type == .int64)
        return (0..<stored.count).map {
            Int32(stored.bytes.loadUnaligned(fromByteOffset: $0 * 8, as: Int64.self))
        }
    }

    /// Seven seconds of sound at 16 kHz.
    var shortRecording: [Float] { get throws { try floats("speech_short", "in.pcm") } }

    /// 71 seconds of it: three windows.
    var longRecording: [Float] {
        get throws {
            let short = try shortRecording
            let count = 71 * 16000
            let step = (1.0 - 0.2) / Double(count - 1)
            return (0..<count).map { short[$0 % short.count] * Float($0 == count - 1 ? 1.0 : Double($0) * step + 0.2) }
        }
    }

    /// A session that is greedy and says twelve tokens at most, as the golden turns do.
    func session(_ change: (inout SessionOptions) -> Void = { _ in }) throws -> Session {
        var options = SessionOptions()
        options.sampling = .greedy
        options.maxNewTokens = 12
        change(&options)
        return try Session(model, options: options)
    }
}

/// What a whole conversation is made of, for computing its answer without a session.
enum Part {
    case text(String)
    case ids([Int32])
    /// Samples at 16 kHz.
    case speech([Float])
}

extension Golden {
    /// The greedy answer to a prompt that is prefilled at once, with nothing cached.
    func answer(_ parts: [Part], adapter: String? = nil, limit: Int = 12) throws -> [Int32] {
        let checkpoint = model.checkpoint
        let adapter = try adapter.map { try #require(checkpoint.adapterIndex($0)) }
        var values: [Float] = []
        for part in parts {
            switch part {
            case .text(let text): values += try checkpoint.decoder.embed(tokenizer.encode(text)).values
            case .ids(let ids): values += try checkpoint.decoder.embed(ids).values
            case .speech(let pcm): values += try tokens(pcm, adapter: adapter)
            }
        }
        let hidden = checkpoint.configuration.language.hiddenSize
        let count = values.count / hidden
        let caches = checkpoint.decoder.makeCaches()
        var prefill = try Prefill(
            checkpoint.decoder, embeddings: Tensor([count, hidden], values),
            positions: (0..<count).map { Position(Int32($0)) })
        while !prefill.isDone { try prefill.step(checkpoint.decoder, caches: caches, adapter: adapter) }
        var row = try prefill.lastRow(checkpoint.decoder)
        var ids: [Int32] = []
        while true {
            let logits = try checkpoint.decoder.logits(row).values
            let best = try #require(logits.indices.max { (logits[$0], $1) < (logits[$1], $0) })
            ids.append(Int32(best))
            if ids.count == limit || best == 2048 || best == 2050 { return ids }
            row = try checkpoint.decoder.decode(
                Int32(best), position: Position(Int32(count + ids.count - 1)), caches: caches, adapter: adapter)
        }
    }

    private func tokens(_ pcm: [Float], adapter: Int?) throws -> [Float] {
        let input = try model.checkpoint.speechInput.get()
        let shape = [input.mel.configuration.melCount, input.mel.configuration.frameCount]
        return try stride(from: 0, through: pcm.count, by: input.windowSamples).flatMap { start in
            let window = Array(pcm[start..<min(start + input.windowSamples, pcm.count)])
            var run = try input.encoder.begin(
                mel: Tensor(shape, window.withUnsafeBufferPointer { try input.mel($0) }))
            while true {
                if let encoded = try input.encoder.step(&run) {
                    return try input.project(encoded, adapter: adapter).values
                }
            }
        }
    }
}
