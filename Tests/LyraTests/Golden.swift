import Foundation
import LyraFormats
import LyraMedia
import LyraModel
import LyraTensor
import LyraText
import TestSupport
import Testing

@testable import Lyra

/// One of the two small random checkpoints in Tests/Fixtures, with whole turns that an independent implementation in
/// float32 computed.
struct Golden: GoldenFixture, Sendable, CustomTestStringConvertible {
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

    /// A greedy session that generates at most twelve tokens, as in the golden turns.
    func session(_ change: (inout SessionOptions) -> Void = { _ in }) throws -> Session {
        var options = SessionOptions()
        options.sampling = .greedy
        options.maxNewTokens = 12
        change(&options)
        return try Session(model, options: options)
    }
}

/// An item of a prompt, for computing the answer to a conversation without a session.
enum PromptItem {
    case text(String)
    case ids([Int32])
    /// Samples at 16 kHz.
    case speech([Float])
    case sound([Float])
    case image(RGBImage)
    case frames([RGBImage])
}

extension Golden {
    /// The greedy answer to a prompt that is prefilled at once, with nothing cached.
    func answer(_ items: [PromptItem], adapter: String? = nil, limit: Int = 12) throws -> [Int32] {
        let checkpoint = model.checkpoint
        let adapter = try adapter.map { try #require(checkpoint.adapterIndex($0)) }
        let hidden = checkpoint.configuration.language.hiddenSize
        var values: [Float] = [], positions: [Position] = []
        var next: Int32 = 0
        for item in items {
            let new: [Float]
            var grid: (time: Int, height: Int, width: Int)?
            switch item {
            case .text(let text): new = try checkpoint.decoder.embed(tokenizer.encode(text)).values
            case .ids(let ids): new = try checkpoint.decoder.embed(ids).values
            case .speech(let pcm): new = try tokens(pcm, adapter: adapter)
            case .sound(let pcm): new = try soundTokens(pcm)
            case .image(let image): (new, grid) = try tokens(vision.preparation.prepare(image))
            case .frames(let frames): (new, grid) = try tokens(prepare(frames))
            }
            values += new
            if let grid {
                for index in 0..<grid.time * grid.height * grid.width {
                    let (row, column) = (index / grid.width % grid.height, index % grid.width)
                    let time = index / grid.width / grid.height
                    positions.append(
                        Position(
                            time: next + Int32(time), height: next + Int32(row), width: next + Int32(column)))
                }
                next += Int32(max(grid.time, grid.height, grid.width))
            } else {
                positions += (0..<Int32(new.count / hidden)).map { Position(next + $0) }
                next += Int32(new.count / hidden)
            }
        }
        let caches = checkpoint.decoder.makeCaches()
        var prefill = try Prefill(
            checkpoint.decoder, embeddings: Tensor([positions.count, hidden], values), positions: positions)
        while !prefill.isDone { try prefill.step(checkpoint.decoder, caches: caches, adapter: adapter) }
        var row = try prefill.lastRows(checkpoint.decoder)
        var ids: [Int32] = []
        while true {
            let logits = try checkpoint.decoder.logits(row).values
            let best = try #require(logits.indices.max { (logits[$0], $1) < (logits[$1], $0) })
            ids.append(Int32(best))
            if ids.count == limit || best == 2048 || best == 2050 { return ids }
            row = try checkpoint.decoder.decode(
                Int32(best), position: Position(next + Int32(ids.count - 1)), caches: caches, adapter: adapter)
        }
    }

    private var vision: VisionNetworks { get throws { try model.checkpoint.visionNetworks.get() } }

    private func prepare(_ frames: [RGBImage]) throws -> PatchGrid {
        let size = PixelSize(width: frames[0].width, height: frames[0].height)
        var video = try VideoFrames(vision.preparation, frameSize: size, frames: frames.count)
        for frame in frames { try video.append(frame) }
        return try video.finish()
    }

    private func tokens(
        _ prepared: PatchGrid
    ) throws -> (tokens: [Float], grid: (time: Int, height: Int, width: Int)?) {
        let encoder = try vision.encoder
        var encoding = try encoder.begin(patches: prepared.patches, grid: prepared.grid)
        while true {
            if let tokens = try encoder.step(&encoding) {
                return (tokens.values, (prepared.grid.time, prepared.grid.height / 2, prepared.grid.width / 2))
            }
        }
    }

    private func soundTokens(_ pcm: [Float]) throws -> [Float] {
        let input = try model.checkpoint.soundNetworks.get()
        let queue = try PCMQueue(sampleRate: 16_000, channels: 1)
        try pcm.withUnsafeBufferPointer { try queue.append($0, sampleRate: 16_000, channels: 1) }
        queue.finish()
        let clips = try SoundClips(queue)
        while try !clips.read() {}
        var encoding = try input.encoder.begin(clips: clips.features())
        while true { if let vectors = try input.encoder.step(&encoding) { return try input.project(vectors).values } }
    }

    private func tokens(_ pcm: [Float], adapter: Int?) throws -> [Float] {
        let input = try model.checkpoint.speechNetworks.get()
        return try stride(from: 0, through: pcm.count, by: input.windowSamples).flatMap { start in
            let window = Array(pcm[start..<min(start + input.windowSamples, pcm.count)])
            var encoding = try input.encoder.begin(mel: window.withUnsafeBufferPointer { try input.mel($0) })
            while true {
                if let encoded = try input.encoder.step(&encoding) {
                    return try input.project(encoded, adapter: adapter).values
                }
            }
        }
    }
}
