import LyraBase
import Testing

@testable import LyraTensor

/// Gradients are reported as soon as they are complete.
@Suite struct GradientObserverTests {
    /// Records which leaves complete, and their gradients at that time.
    private final class Recorder: GradientObserver {
        let parameters: [TrainableParameter]
        var announced: Set<String> = []
        var completed: [(name: String, gradient: [Float]?)] = []
        /// The parameters that had a gradient when one was complete.
        var begun: [Set<String>] = []

        init(_ parameters: [TrainableParameter]) { self.parameters = parameters }

        private func name(_ leaf: GradientNode) -> String {
            parameters.first { $0.node === leaf }?.name ?? "no parameter"
        }

        func willReach(_ leaves: [GradientNode]) { announced = Set(leaves.map(name)) }

        func didComplete(_ leaf: GradientNode) {
            completed.append((name(leaf), leaf.gradient?.values))
            begun.append(Set(parameters.filter { $0.gradient != nil }.map(\.name)))
        }
    }

    /// Three layers, of which the first and the last share a bias.
    @Test(arguments: [false, true]) func gradientsOfLaterLayersCompleteFirst(_ recomputes: Bool) throws {
        var numbers = Sequence(1)
        func parameter(_ name: String, _ shape: [Int]) throws -> TrainableParameter {
            try TrainableParameter(name, Tensor(shape, numbers.floats(shape.reduce(1, *))))
        }
        let weights = try (0..<3).map { try parameter("w\($0)", [4, 4]) }
        let shared = try parameter("shared", [4]), unused = try parameter("unused", [4])
        var x = try Tensor([2, 4], numbers.floats(8))
        for (index, weight) in weights.enumerated() {
            func layer(_ x: Tensor) throws -> Tensor {
                try weight.weight.product(x, bias: index == 1 ? nil : shared.tensor, activation: .gelu)
            }
            x = recomputes ? try recomputing([x]) { try layer($0[0]) } : try layer(x)
        }
        let recorder = Recorder(weights + [shared, unused])
        try backpropagate([(x, Tensor([2, 4], numbers.floats(8)))], observer: recorder)

        #expect(recorder.announced == ["w0", "w1", "w2", "shared"])
        #expect(recorder.completed.map(\.name).prefix(2) == ["w2", "w1"])
        #expect(Set(recorder.completed.suffix(2).map(\.name)) == ["w0", "shared"] && recorder.completed.count == 4)
        #expect(recorder.begun[0] == ["w2", "shared"], "the other layers' gradients are computed later")
        for (name, gradient) in recorder.completed {
            let final = try #require(recorder.parameters.first { $0.name == name }?.gradient)
            #expect(gradient == final.values, "\(name) did not change after it was complete")
        }
    }
}
