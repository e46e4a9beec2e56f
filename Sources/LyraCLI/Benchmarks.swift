import CKernels
import Lyra
import LyraModel
import LyraTensor

/// The measurements of `bench`, each beside the machine's limit that it runs against.
final class Benchmarks {
    let checkpoint: Checkpoint
    let preset: ModelPreset
    /// A video whose decoding is timed.
    private let video: String?
    private let repetitions: Int
    private let promptTokens: Int
    private let decodeTokens: Int

    init(
        _ checkpoint: Checkpoint, preset: ModelPreset, repetitions: Int, promptTokens: Int, decodeTokens: Int,
        video: String?
    ) throws {
        self.video = video
        self.checkpoint = checkpoint
        self.preset = preset
        self.repetitions = repetitions
        self.promptTokens = promptTokens
        self.decodeTokens = decodeTokens
    }

    var all: [(name: String, measure: () throws -> BenchmarkRow)] {
        [
            ("reading memory", readMemory), ("sgemm", multiply), ("prefill", prefill), ("decode", decode),
            ("speech encoder", encode), ("speech generator", generate), ("vocoder", vocode),
            ("vision", see),
        ] + (video.map { file in [("video", { try self.decode(video: file) })] } ?? [])
    }

    /// Seconds of the median run.
    func median(_ body: () throws -> Void) rethrows -> Double {
        try (0..<repetitions).map { _ in
            let start = now()
            try body()
            return now() - start
        }.sorted()[repetitions / 2]
    }

    /// A function that reads 1 GB in a plain loop and gives the bytes a second.
    private func reading() throws -> () -> Double {
        let count = 1 << 28
        let memory = try FloatStorage(count: count)
        memory.base.update(repeating: 1, count: count)
        var sum: Float = 0
        return {
            let start = now()
            sum += lk_read_all(memory.base, count * 4)
            return sum.isNaN ? 0 : Double(count * 4) / (now() - start)
        }
    }

    private func readMemory() throws -> BenchmarkRow {
        let read = try reading()
        let rates = (0..<repetitions).map { _ in read() }.sorted()
        return BenchmarkRow(
            part: "memory", what: "1 GB, read", value: rates[repetitions / 2] / 1e9, unit: "GB/s", share: nil)
    }

    /// A function that multiplies two matrices with OpenBLAS's sgemm and gives the floating-point operations a second.
    private func sgemm() throws -> () throws -> Double {
        let size = 2048
        let factors = try (0..<2).map { _ in try Tensor(zeros: [size, size]) }
        var product = try Tensor(zeros: [size, size])
        return {
            let start = now()
            try product.withMutableValues { c in
                factors[0].withValues { a in factors[1].withValues { b in lk_sgemm_square(c, a, b, size) } }
            }
            return 2 * Double(size * size * size) / (now() - start)
        }
    }

    private func multiply() throws -> BenchmarkRow {
        let multiply = try sgemm()
        let rates = try (0..<repetitions).map { _ in try multiply() }.sorted()
        return BenchmarkRow(
            part: "OpenBLAS", what: "sgemm 2048³", value: rates[repetitions / 2] / 1e9, unit: "GFLOP/s", share: nil)
    }

    /// Seconds of the median run, and the machine's rate just before and after it: what else it does slows both.
    private func beside(_ rate: () throws -> Double, _ body: () throws -> Void) throws -> (Double, Double) {
        func samples() throws -> [Double] { try (0..<3).map { _ in try rate() } }
        return try (0..<repetitions).map { _ in
            let before = try samples(), start = now()
            try body()
            let seconds = now() - start
            let rates = try before + samples()
            return (seconds, rates.reduce(0, +) / Double(rates.count))
        }.sorted { $0.0 * $0.1 < $1.0 * $1.1 }[repetitions / 2]
    }

    func besideSgemm(_ body: () throws -> Void) throws -> (seconds: Double, sgemm: Double) {
        let (seconds, rate) = try beside(sgemm(), body)
        return (seconds, rate)
    }

    /// Multiplications and additions of the language model's matrices for one token, its head left out.
    private var languageFlops: Double {
        let language = preset.language, hidden = language.hiddenSize
        let attention = hidden * (2 * hidden + 2 * language.kvHeads * language.headDim)
        return 2 * Double(language.layers * (attention + 3 * hidden * language.intermediateSize))
    }

    private func prompt(_ count: Int) -> [Int32] {
        (0..<count).map { Int32($0 * 7919 % preset.language.vocabularySize) }
    }

    private func runPrompt(_ count: Int, _ caches: [KeyValueCache]) throws -> Tensor {
        let decoder = checkpoint.decoder
        var prefill = try Prefill(
            decoder, embeddings: decoder.embed(prompt(count)), positions: (0..<Int32(count)).map { Position($0) })
        while !prefill.isDone { try prefill.step(decoder, caches: caches, adapter: nil) }
        return try prefill.lastRow(decoder)
    }

    private func prefill() throws -> BenchmarkRow {
        let (seconds, sgemm) = try besideSgemm { _ = try runPrompt(promptTokens, checkpoint.decoder.makeCaches()) }
        let rate = Double(promptTokens) / seconds
        return BenchmarkRow(
            part: "language model", what: "prefill \(promptTokens)", value: rate, unit: "tokens/s",
            share: ("sgemm", rate * languageFlops / sgemm))
    }

    private func decode() throws -> BenchmarkRow {
        let decoder = checkpoint.decoder
        let caches = decoder.makeCaches()
        var row = try runPrompt(128, caches)
        var position: Int32 = 128
        let (seconds, bandwidth) = try beside(reading()) {
            for _ in 0..<decodeTokens {
                let logits = try decoder.logits(row)
                let id = logits.withValues { UnsafeBufferPointer(start: $0, count: logits.count).indexOfLargest() }
                row = try decoder.decode(Int32(id), position: Position(position), caches: caches, adapter: nil)
                position += 1
            }
        }
        let rate = Double(decodeTokens) / seconds
        return BenchmarkRow(
            part: "language model", what: "decode after 128", value: rate, unit: "tokens/s",
            share: ("reading", rate * Double(decoder.bytesPerToken) / bandwidth))
    }

    private func encode() throws -> BenchmarkRow {
        let speech = try checkpoint.speechInput.get()
        let samples = (0..<speech.windowSamples).map { Float($0 % 160) / 320 - 0.25 }
        let (seconds, sgemm) = try besideSgemm {
            let features = speech.mel.configuration
            let mel = try Tensor(
                [features.melCount, features.frameCount], samples.withUnsafeBufferPointer { try speech.mel($0) })
            var run = try speech.encoder.begin(mel: mel)
            while true {
                if let encoded = try speech.encoder.step(&run) {
                    _ = try speech.project(encoded, adapter: nil)
                    break
                }
            }
        }
        let whisper = preset.whisper, t = Double(whisper.positions), d = Double(whisper.width)
        let layer = 2 * t * (4 * d * d + 2 * d * Double(whisper.inner)) + 4 * t * t * d
        let flops = Double(whisper.layers) * layer + 2 * t * 3 * d * (2 * Double(whisper.mels) + d)
        let length = Double(speech.windowSamples) / Double(speech.sampleRate)
        return BenchmarkRow(
            part: "speech encoder", what: "one window of \(Int(length)) s", value: seconds, unit: "s",
            share: ("sgemm", flops / seconds / sgemm))
    }

    private func generate() throws -> BenchmarkRow {
        guard let generator = checkpoint.generator else { throw LyraError(.missing, "there is no speech generator") }
        let row = try runPrompt(8, checkpoint.decoder.makeCaches())
        var state = generator.makeState()
        let (four, sgemm) = try besideSgemm { for _ in 0..<4 { _ = try generator.append(row, to: &state) } }
        let seconds = four / 4
        let g = generator.configuration
        // The first layer's q, k and v are computed once for all positions of a token.
        let perPosition = g.layers * (4 * g.dim * g.dim + 3 * g.dim * g.inner) - 3 * g.dim * g.dim
        let flops = 2 * Double(g.upsampling * perPosition)
        return BenchmarkRow(
            part: "speech generator", what: "one token", value: seconds * 1e3, unit: "ms",
            share: ("sgemm", flops / seconds / sgemm))
    }

    private func vocode() throws -> BenchmarkRow {
        let vocoder = try checkpoint.vocoder.get()
        let units = (0..<100).map { Int32($0 * 37 % preset.generator.units) }
        var samples = 0
        let seconds = try median {
            let stream = VocoderStream(vocoder)
            try stream.append(units)
            stream.finish()
            samples = 0
            while stream.hasWork { samples += try stream.produce().count }
        }
        let audio = Double(samples) / Double(vocoder.sampleRate)
        return BenchmarkRow(
            part: "vocoder", what: "\((audio * 10).rounded() / 10) s of speech", value: audio / seconds,
            unit: "× real time", share: nil)
    }
}
