import LyraBase
import LyraModel
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

/// One sample of stage 2 against PyTorch's losses and gradients in float64: cross-entropy of the answer plus
/// 0.5 · LCMR, the adapter `speech` and its projector trained, no dropout.
@Suite struct GoldenGradientTests {
    /// Every 16th row of a large gradient is in the fixture.
    private static let stride = 16

    @Test(arguments: ["train_plain", "train_extractor"], [false, true])
    func lossesAndGradientsEqualTheReference(_ name: String, _ recomputesLayers: Bool) throws {
        for golden in Golden.both {
            let model = Golden.path(golden.name)
            let report = try GradientReport(
                of: GradientCase(path: "\(model)/cases/\(name).safetensors"), checkpoint: model + "/lyra",
                options: CheckpointOptions(), adapter: "speech",
                extractor: name == "train_extractor" ? Extractor(gap: 2, keep: 0.7) : nil,
                recomputesLayers: recomputesLayers)
            for (got, wanted) in [
                (report.crossEntropy, "out.ce"), (report.regularizer, "out.lcmr"), (report.total, "out.loss"),
            ] {
                #expect(difference(got, try golden.doubles(name, wanted)[0]) < 1e-4, "\(wanted)")
            }
            let prefix = "out.grad_", wanted = try golden.file(name).names.filter { $0.hasPrefix(prefix) }
            #expect(wanted.count >= 16)
            for output in wanted {
                let parameter = String(output.dropFirst(prefix.count))
                let gradient = try #require(report.gradients[parameter], "\(parameter)")
                let reference = try golden.tensor(name, output)
                let step = reference.rows == gradient.rows ? 1 : Self.stride
                let got = try gradient.keepingRows(Swift.stride(from: 0, to: Int32(gradient.rows), by: step).map { $0 })
                // What F32 gives after eight layers is ten times better.
                #expect(
                    difference(got.values, reference.values.map(Double.init)) < 1e-3, "\(golden.name) \(parameter)")
            }
        }
    }

    @Test func aCaseThatDoesNotFitIsRefused() throws {
        let model = Golden.path("a")
        func report(_ fixture: String, _ name: String, adapter: String) throws -> GradientReport {
            try GradientReport(
                of: GradientCase(path: Golden.path(fixture) + "/cases/\(name).safetensors"),
                checkpoint: model + "/lyra", options: CheckpointOptions(), adapter: adapter)
        }
        for (fixture, name, adapter, reason) in [
            ("a", "ctc", "speech", "in.encoder"), ("a", "train_plain", "swedish", "long_speech"),
            ("b", "train_plain", "speech", "[2048, 240]"),
        ] {
            let error = #expect(throws: LyraError.self) { try report(fixture, name, adapter: adapter) }
            #expect(error?.message.contains(reason) == true, "\(error?.message ?? "")")
        }
    }
}
