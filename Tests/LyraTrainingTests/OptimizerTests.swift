import CInterruption
import CKernels
import Foundation
import LyraBase
import LyraFormats
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

/// The optimizer against torch.optim.AdamW and its definition.
@Suite(.serialized) struct OptimizerTests {
    private func torchOptimizer(_ rule: Optimizer.Group.Rule = .adamW) throws -> Optimizer {
        var optimizer = try Optimizer(groups: [
            Optimizer.Group(rule, learningRate: 1e-2, weightDecay: 0.1),
            Optimizer.Group(learningRate: 3e-3, beta1: 0.8, beta2: 0.95, epsilon: 1e-6),
        ])
        try optimizer.add("a", shape: [5, 7])
        try optimizer.add("b", shape: [37], group: 1)
        return optimizer
    }

    /// Eight steps with two groups, clipping and a schedule. Eight roundings of floats make 1e-6.
    @Test func parametersEqualTorch() throws {
        let fixture = try TrainingFixture("adamw")
        let schedule = try Schedule(.cosine, steps: 8, warmupShare: 0.25)
        try onEachISA { isa in
            var optimizer = try torchOptimizer()
            var parameters = ["a": try fixture.tensor("a.0"), "b": try fixture.tensor("b.0")]
            for step in 1...8 {
                let gradients = try ["a", "b"].map { try fixture.tensor("\($0).grad.\(step)") }
                let norm = try GradientClipping.norm(gradients)
                #expect(difference(norm, Double(try fixture.tensor("norm.\(step)")[0])) < 1e-6, "\(isa)")
                let scale = try #require(GradientClipping.factor(norm: norm, limit: 1))
                for (name, gradient) in zip(["a", "b"], gradients) {
                    var parameter = try #require(parameters[name])
                    try optimizer.update(
                        name, &parameter, gradient: gradient, rateFactor: schedule.factor(at: step - 1),
                        gradientScale: scale)
                    parameters[name] = parameter
                    let want = try fixture.tensor("\(name).\(step)").values.map { Double($0) }
                    #expect(difference(parameter.values, want) < 1e-6, "\(isa): \(name) after step \(step)")
                }
            }
        }
    }

    /// The definition in double precision, element by element.
    private func step(_ w: [Float], _ m: [Float], _ v: [Float], _ g: [Float], _ group: Optimizer.Group, _ number: Int)
        -> (w: [Double], m: [Double], v: [Double])
    {
        let m = zip(m, g).map { group.beta1 * Double($0) + (1 - group.beta1) * Double($1) }
        let v = zip(v, g).map { group.beta2 * Double($0) + (1 - group.beta2) * Double($1) * Double($1) }
        let w = w.indices.map { i -> Double in
            let mean = m[i] / (1 - pow(group.beta1, Double(number)))
            let square = v[i] / (1 - pow(group.beta2, Double(number)))
            let decayed = Double(w[i]) * (1 - group.learningRate * group.weightDecay)
            return decayed - group.learningRate * mean / (square.squareRoot() + group.epsilon)
        }
        return (w, m, v)
    }

    /// Less than a vector, whole vectors and one more, and as many as are cut into pieces for the threads.
    @Test(arguments: [1, 3, 4, 7, 8, 9, 16, 17, 100, 32_768, 32_769, 70_001]) func updateEqualsItsDefinition(
        _ count: Int
    ) throws {
        let group = Optimizer.Group(learningRate: 0.01, weightDecay: 0.5, beta1: 0.85, beta2: 0.98, epsilon: 1e-5)
        try onEachISA { isa in
            var optimizer = try Optimizer(groups: [group])
            try optimizer.add("w", shape: [count])
            var w = try normal([count], seed: count)
            for number in 1...3 {
                let gradient = try normal([count], seed: count + number, deviation: 0.1)
                let before = try #require(optimizer.moments(of: "w"))
                let want = step(w.values, before.first.values, before.second.values, gradient.values, group, number)
                try optimizer.update("w", &w, gradient: gradient)
                let after = try #require(optimizer.moments(of: "w"))
                #expect(after.steps == number, "\(isa)")
                // Each is a few roundings of floats away; the ratio m / √v adds some of a small share.
                #expect(difference(w.values, want.w) < 1e-6, "\(isa)")
                #expect(difference(after.first.values, want.m) < 1e-6, "\(isa)")
                #expect(difference(after.second.values, want.v) < 1e-6, "\(isa)")
            }
        }
    }

    /// So the number of threads, and where pieces are cut, changes nothing.
    @Test func anElementsResultDoesNotDependOnItsPlace() throws {
        let count = 70_001
        var step = lk_adamw_step(
            gradient_scale: 0.5, first_share: 0.1, second_keep: 0.99, second_share: 0.01, keep: 0.999, size: 0.01,
            root_scale: 3, epsilon: 1e-6)
        let start = try (0..<4).map { try normal([count], seed: $0).values.map(abs) }
        func update(_ range: Range<Int>) -> [[Float]] {
            var (w, m, v) = (Array(start[0][range]), Array(start[1][range]), Array(start[2][range]))
            lk_adamw(&w, &m, &v, Array(start[3][range]), range.count, &step)
            return [w, m, v]
        }
        onEachISA { isa in
            let whole = update(0..<count)
            let parts = [0..<1, 1..<40_002, 40_002..<count].map(update)
            for index in 0..<3 { #expect(whole[index] == parts.flatMap { $0[index] }, "\(isa)") }
        }
    }

    private func write(_ optimizer: Optimizer, _ parameters: [String: Tensor], to path: String) throws {
        var tensors: [(String, Tensor)] = []
        for name in optimizer.names {
            let moments = try #require(optimizer.moments(of: name))
            tensors.append((name, try #require(parameters[name])))
            tensors += [(name + ".m", moments.first), (name + ".v", moments.second)]
        }
        let writer = try SafetensorsWriter(
            path: path, tensors: tensors.map { TensorSpec(name: $0.0, type: .float32, shape: $0.1.shape) })
        for (name, tensor) in tensors {
            try tensor.values.withUnsafeBytes { try writer.write(name, $0) }
        }
        try writer.finish()
    }

    @Test(arguments: [Optimizer.Group.Rule.adamW, .muon]) func savedStateContinuesBitForBit(
        _ rule: Optimizer.Group.Rule
    ) throws {
        func run(_ optimizer: inout Optimizer, _ parameters: inout [String: Tensor], _ steps: ClosedRange<Int>) throws {
            for step in steps {
                for (name, shape) in [("a", [5, 7]), ("b", [37])] {
                    var parameter = try #require(parameters[name])
                    try optimizer.update(name, &parameter, gradient: normal(shape, seed: step * 100 + shape[0]))
                    parameters[name] = parameter
                }
            }
        }
        let start = ["a": try normal([5, 7], seed: 1), "b": try normal([37], seed: 2)]
        var (whole, wholeParameters) = (try torchOptimizer(rule), start)
        try run(&whole, &wholeParameters, 1...7)

        var (first, parameters) = (try torchOptimizer(rule), start)
        try run(&first, &parameters, 1...3)
        let path = FileManager.default.temporaryDirectory.path + "/lyra-adamw-\(getpid()).safetensors"
        defer { unlink(path) }
        try write(first, parameters, to: path)

        let file = try Safetensors(path: path)
        var second = try torchOptimizer(rule)
        for name in second.names {
            let (m, v) = (try #require(file.tensor(name + ".m")), try #require(file.tensor(name + ".v")))
            try second.restore(Optimizer.Moments(steps: 3, first: m.values(), second: v.values()), of: name)
            parameters[name] = try #require(file.tensor(name)).values()
        }
        try run(&second, &parameters, 4...7)
        for name in second.names {
            #expect(parameters[name]?.values == wholeParameters[name]?.values)
            #expect(second.moments(of: name)?.first.values == whole.moments(of: name)?.first.values)
            #expect(second.moments(of: name)?.second.values == whole.moments(of: name)?.second.values)
            #expect(second.moments(of: name)?.steps == 7)
        }
    }

    @Test func savedMomentsStayWhileTheRunGoesOn() throws {
        var optimizer = try torchOptimizer()
        var parameter = try normal([37], seed: 1)
        let kept = parameter
        try optimizer.update("b", &parameter, gradient: normal([37], seed: 2))
        let saved = try #require(optimizer.moments(of: "b")), values = saved.first.values
        try optimizer.update("b", &parameter, gradient: normal([37], seed: 3))
        #expect(saved.first.values == values && saved.steps == 1)
        #expect(kept.values == (try normal([37], seed: 1).values), "a tensor that shares the memory is not changed")
    }

    @Test func parametersAreUpdatedWhereTheyAre() throws {
        var optimizer = try Optimizer(groups: [Optimizer.Group(learningRate: 0.1)])
        try optimizer.add("w", shape: [300, 300])
        var parameter = try normal([300, 300], seed: 1)
        let before = try parameter.withValues { UInt(bitPattern: $0) }
        let moments = try #require(optimizer.moments(of: "w")).first.withValues { UInt(bitPattern: $0) }
        try optimizer.update("w", &parameter, gradient: normal([300, 300], seed: 2))
        #expect(try parameter.withValues { UInt(bitPattern: $0) } == before)
        #expect(try #require(optimizer.moments(of: "w")).first.withValues { UInt(bitPattern: $0) } == moments)
    }

    /// Half-updated parameters would be a damaged checkpoint: an interrupted run saves what it has.
    @Test func anInterruptionWaitsUntilTheUpdateIsDone() throws {
        var (plain, interrupted) = (try torchOptimizer(), try torchOptimizer())
        var (want, got) = (try normal([37], seed: 1), try normal([37], seed: 1))
        let gradient = try normal([37], seed: 2)
        try plain.update("b", &want, gradient: gradient)
        let word = Interruption()
        word.value = Int32(LK_INTERRUPTED)
        try word.during { try interrupted.update("b", &got, gradient: gradient) }
        #expect(got.values == want.values)
    }

    @Test func groupsCanChange() throws {
        var optimizer = try torchOptimizer()
        try optimizer.set(Optimizer.Group(learningRate: 0), at: 1)
        var parameter = try normal([37], seed: 1)
        try optimizer.update("b", &parameter, gradient: normal([37], seed: 2))
        #expect(parameter.values == (try normal([37], seed: 1).values), "a rate of 0 changes nothing")
    }

    @Test func wrongInputIsRefused() throws {
        for group in [
            Optimizer.Group(learningRate: -1), Optimizer.Group(learningRate: .nan),
            Optimizer.Group(learningRate: .infinity),
            Optimizer.Group(learningRate: 1, weightDecay: -1), Optimizer.Group(learningRate: 1, beta1: 1),
            Optimizer.Group(learningRate: 1, beta2: 1.5), Optimizer.Group(learningRate: 1, epsilon: 0),
        ] {
            #expect(throws: LyraError.self) { try Optimizer(groups: [group]) }
        }
        #expect(throws: LyraError.self) { try Optimizer(groups: []) }
        var optimizer = try torchOptimizer()
        #expect(throws: LyraError.self) { try optimizer.add("a", shape: [1]) }
        #expect(throws: LyraError.self) { try optimizer.add("c", shape: [1], group: 2) }
        #expect(throws: LyraError.self) { try optimizer.add("c", shape: [.max, .max]) }
        #expect(throws: LyraError.self) { try optimizer.set(Optimizer.Group(learningRate: 1), at: -1) }
        var parameter = try normal([37], seed: 1)
        let gradient = try normal([37], seed: 2), other = try normal([36], seed: 2)
        #expect(throws: LyraError.self) { try optimizer.update("c", &parameter, gradient: gradient) }
        #expect(throws: LyraError.self) { try optimizer.update("b", &parameter, gradient: other) }
        #expect(throws: LyraError.self) { try optimizer.update("a", &parameter, gradient: gradient) }
        #expect(throws: LyraError.self) {
            try optimizer.update("b", &parameter, gradient: gradient, gradientScale: .nan)
        }
        #expect(parameter.values == (try normal([37], seed: 1).values))
        #expect(optimizer.moments(of: "b")?.steps == 0 && optimizer.moments(of: "c") == nil)
        let moments = Optimizer.Moments(steps: -1, first: gradient, second: gradient)
        #expect(throws: LyraError.self) { try optimizer.restore(moments, of: "b") }
        let short = Optimizer.Moments(steps: 1, first: gradient, second: other)
        #expect(throws: LyraError.self) { try optimizer.restore(short, of: "b") }
        #expect(throws: LyraError.self) { try optimizer.restore(short, of: "c") }
    }
}
