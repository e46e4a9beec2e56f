import LyraBase
import LyraFormats
import LyraTensor
import TestSupport
import Testing

@testable import LyraModel
@testable import LyraTraining

/// One sample of stage 2 against PyTorch's losses and gradients in float64: cross-entropy of the answer plus 0.5 · LCMR,
/// the adapter `speech` and its projector trained, no dropout.
@Suite struct GoldenGradientTests {
    /// Every 16th row of a large gradient is in the fixture.
    private static let stride = 16

    @Test(arguments: [
        ("train_plain", false), ("train_plain", true), ("train_extractor", false), ("train_extractor", true),
    ])
    func lossesAndGradientsEqualTheReference(_ name: String, _ recomputesLayers: Bool) throws {
        for golden in Golden.both {
            let trainables = TrainableParameters { part, _ in
                [.adapter(0), .adapter(1), .adapterProjector(0), .adapterProjector(1)].contains(part)
            }
            var options = CheckpointOptions()
            options.trainables = trainables
            let checkpoint = try Checkpoint.open(Golden.path(golden.name) + "/lyra", options: options)
            let adapter = try #require(checkpoint.adapterIndex("speech")), decoder = checkpoint.decoder
            let sample = try Sample(golden, name, checkpoint, adapter)
            let output = try decoder(
                [sample.batchSample], adapter: adapter,
                schedule: name == "train_extractor"
                    ? ExtractionSchedule(Extractor(gap: 2, keep: 0.7), layers: decoder.layerCount) : nil,
                recomputesLayers: recomputesLayers)
            let rows = output.hidden.rows, answer = sample.answer
            let predicting = output.hidden.rows(rows - answer.count - 1..<rows - 1)
            let (loss, gradient) = try decoder.crossEntropy(
                predicting, targets: answer, gradientScale: 1 / Double(answer.count))
            let lcmr = try CrossModalityRegularizer()(
                speech: sample.speech.detached, text: decoder.embed(sample.transcript), gradientScale: 0.5,
                wantsTextGradient: false)
            try backpropagate([(predicting, gradient), (sample.speech, lcmr.speechGradient)])

            let crossEntropy = try #require(loss.mean)
            for (got, wanted) in [
                (crossEntropy, "out.ce"), (lcmr.loss, "out.lcmr"), (crossEntropy + 0.5 * lcmr.loss, "out.loss"),
            ] {
                #expect(difference(got, try golden.doubles(name, wanted)[0]) < 1e-4, "\(wanted)")
            }
            try checkGradients(golden, name, trainables, adapter)
        }
    }

    private struct Sample {
        let answer: [Int32]
        let transcript: [Int32]
        /// Projected speech, whose gradient LCMR adds to.
        let speech: Tensor
        let batchSample: BatchSample

        init(_ golden: Golden, _ name: String, _ checkpoint: Checkpoint, _ adapter: Int) throws {
            let before = try golden.integers(name, "in.before"), after = try golden.integers(name, "in.after")
            answer = try golden.integers(name, "in.answer")
            transcript = try golden.integers(name, "in.transcript")
            speech = try checkpoint.speechNetworks.get().project(golden.tensor(name, "in.encoder"), adapter: adapter)
            let decoder = checkpoint.decoder
            let embeddings = try Tensor.stacking([
                decoder.embed(before), speech, decoder.embed(after), decoder.embed(answer),
            ])
            let media = before.count..<before.count + speech.rows
            let question = media.upperBound..<media.upperBound + after.count
            let all = 0..<embeddings.rows
            batchSample = try BatchSample(
                embeddings: embeddings, positions: all.map { Position(Int32($0)) }, isMedia: all.map(media.contains),
                isQuery: all.map(question.contains))
        }
    }

    /// Every gradient, to 1e-3 of its largest element: what F32 gives after eight layers is ten times better.
    private func checkGradients(
        _ golden: Golden, _ name: String, _ trainables: TrainableParameters, _ adapter: Int
    ) throws {
        let prefix = "out.grad_", wanted = try golden.file(name).names.filter { $0.hasPrefix(prefix) }
        #expect(wanted.count >= 16)
        for output in wanted {
            let short = String(output.dropFirst(prefix.count)), projector = "projector."
            let (part, tensor): (ModelPart, String) =
                short.hasPrefix(projector)
                ? (.adapterProjector(adapter), String(short.dropFirst(projector.count)))
                : (.adapter(adapter), "base_model.model.model.layers.\(short).weight")
            let element = try #require(
                trainables.elements.first { $0.part == part && $0.name == tensor }, "\(tensor)")
            let gradient = try #require(element.parameter.gradient), reference = try golden.tensor(name, output)
            let rows = Swift.stride(from: 0, to: gradient.rows, by: reference.rows == gradient.rows ? 1 : Self.stride)
            let got = try gradient.keepingRows(rows.map { Int32($0) })
            #expect(got.rows == reference.rows)
            #expect(difference(got.values, reference.values.map(Double.init)) < 1e-3, "\(golden.name) \(short)")
        }
    }
}
