import LyraBase
import LyraModel
import LyraTensor
import TestSupport
import Testing

@testable import LyraTraining

/// Gradients of several processes, which threads stand for here. MPI itself: Tests/cli/test_mpi.py.
@Suite struct GradientExchangeTests {
    /// The trained parameters of a process, the same in all: a projector, and layers with weight and bias.
    private struct Network {
        var all: [TrainableParameter] { [projector] + layers + [unused, head] }
        let projector, unused, head: TrainableParameter
        let layers: [TrainableParameter]

        init() throws {
            func parameter(_ name: String, _ seed: Int) throws -> TrainableParameter {
                try TrainableParameter(name, normal([6, 6], seed: seed))
            }
            projector = try parameter("projector", 1)
            layers = try (0..<4).map { try parameter("layer \($0)", 2 + $0) }
            (unused, head) = (try parameter("unused", 8), try parameter("head", 9))
        }

        /// Adds the gradients of Σ y · g / divisor over the rows of an example. As with the head of a language model,
        /// the gradient of `head` does not come from backpropagation.
        func train(_ example: Example, divisor: Double, observer: (any GradientObserver)? = nil) throws {
            var x = example.isSpeech ? try projector.weight.product(example.x) : example.x
            for layer in layers { x = try layer.weight.product(x, activation: .gelu) }
            let g = try example.g.scaled(by: Float(1 / divisor))
            try head.weight.addGradient(g, x: x.detached)
            try backpropagate([(x, head.weight.transposedProduct(g))], observer: observer)
        }
    }

    private struct Example {
        let x, g: Tensor
        let isSpeech: Bool

        init(rows: Int, seed: Int, isSpeech: Bool) throws {
            (x, g, self.isSpeech) = (
                try normal([rows, 6], seed: seed), try normal([rows, 6], seed: seed + 100), isSpeech
            )
        }
    }

    /// For each process its batches. The second has shorter ones, fewer, and no speech.
    private static func batches() throws -> [[Example]] {
        [
            [
                try Example(rows: 5, seed: 20, isSpeech: true), try Example(rows: 3, seed: 21, isSpeech: false),
                try Example(rows: 1, seed: 22, isSpeech: true),
            ],
            [try Example(rows: 2, seed: 23, isSpeech: false)],
        ]
    }

    /// The last process has no example at all. From one parameter in a bucket to all in one.
    @Test(arguments: [1, 300, 1 << 20]) func processesGetTheGradientsOfTheJoinedBatch(_ bucketBytes: Int) throws {
        let joined = try Network(), examples = try Self.batches().flatMap(\.self)
        let rows = examples.reduce(0) { $0 + $1.x.rows }
        for example in examples { try joined.train(example, divisor: Double(rows)) }

        let results = try ThreadGroup.run(3) { group in
            let network = try Network(), own = group.rank < 2 ? try Self.batches()[group.rank] : []
            let exchange = GradientExchange(network.all, group: group, bucketBytes: bucketBytes)
            let total = try group.sum([own.reduce(0) { $0 + Double($1.x.rows) }])[0]
            // Twice: the second update must not see anything of the first.
            for _ in 0..<2 {
                for parameter in network.all { parameter.node.clearGradient() }
                for (index, example) in own.enumerated() {
                    let isLast = index == own.count - 1
                    try network.train(example, divisor: total, observer: isLast ? exchange.observer : nil)
                }
                try exchange.finish()
            }
            return network.all.map { $0.gradient?.values }
        }
        for (index, parameter) in joined.all.enumerated() {
            let wanted = parameter.gradient?.values
            #expect((wanted == nil) == (parameter.name == "unused"))
            for result in results {
                guard let wanted, let got = result[index] else {
                    #expect(result[index] == nil && wanted == nil, "\(parameter.name)")
                    continue
                }
                // The order of the sums differs: a few roundings of F32.
                #expect(difference(got, wanted.map(Double.init)) < 1e-6, "\(parameter.name)")
                #expect(got == results[0][index], "all processes have the same bits")
            }
        }
    }

    /// Passes everything on, and records how many sums had begun when each gradient was complete.
    private final class Watch: GradientObserver {
        let next: any GradientObserver
        let group: ThreadGroup
        var begun: [Int] = []

        init(_ next: any GradientObserver, _ group: ThreadGroup) { (self.next, self.group) = (next, group) }

        func willReach(_ leaves: [GradientNode]) throws { try next.willReach(leaves) }

        func didComplete(_ leaf: GradientNode) throws {
            try next.didComplete(leaf)
            begun.append(group.begun)
        }
    }

    @Test func sumsBeginWhileOtherGradientsAreComputed() throws {
        let begun = try ThreadGroup.run(2) { group in
            let network = try Network(), example = try Example(rows: 3, seed: 30, isSpeech: group.rank == 0)
            let exchange = GradientExchange(network.all, group: group, bucketBytes: 1)
            let watch = Watch(try #require(exchange.observer), group)
            try network.train(example, divisor: 1, observer: watch)
            let beforeTheEnd = group.begun
            try exchange.finish()
            return (watch.begun, beforeTheEnd)
        }
        // Head and `unused` can be sent at once, then each layer from the last to the first, and the projector.
        #expect(begun[0].0 == [3, 4, 5, 6, 7])
        // Without speech, the projector is sent as soon as its turn comes.
        #expect(begun[1].0 == [3, 4, 5, 7])
        #expect(begun.allSatisfy { $0.1 == 7 })
    }

    @Test func aloneAProcessExchangesNothing() throws {
        let network = try Network(), exchange = GradientExchange(network.all, group: SingleProcess())
        #expect(exchange.observer == nil)
        try network.train(Example(rows: 2, seed: 40, isSpeech: false), divisor: 2)
        let before = network.all.map { $0.gradient?.values }
        try exchange.finish()
        #expect(network.all.map { $0.gradient?.values } == before)
        #expect(try SingleProcess().sum([1, 2]) == [1, 2] && !SingleProcess().any(false) && SingleProcess().any(true))
    }

    @Test func parametersAreSentInTheReverseOrderOfTheForwardPass() throws {
        let trainables = TrainableParameters { part, name in
            switch part {
            case .main, .adapter, .adapterProjector: true
            default: false
            }
        }
        var options = CheckpointOptions()
        options.trainables = trainables
        _ = try Checkpoint.open(Golden.path("a") + "/lyra", options: options)
        let order = GradientExchange.forwardOrder(trainables.elements).map { ObjectIdentifier($0.parameter) }
        #expect(order.count == trainables.elements.count && Set(order).count == order.count)
        func places(_ isWanted: (ModelPart, String) -> Bool) throws -> ClosedRange<Int> {
            let chosen = trainables.elements.filter { isWanted($0.part, $0.name) }
            let places = chosen.compactMap { order.firstIndex(of: ObjectIdentifier($0.parameter)) }
            return try #require(places.min())...#require(places.max())
        }
        let ranges = [
            try places { part, _ in if case .adapterProjector = part { true } else { false } },
            try places { $1.hasSuffix("embed_tokens.weight") },
            try places { $1.contains("model.layers.0.") },
            try places { $1.contains("model.layers.1.") },
            try places { $1.contains("model.layers.7.") },
            try places { $0 == .main && ($1 == "model.norm.weight" || $1 == "lm_head.weight") },
            try places { $1.hasPrefix("speech_generator") },
        ]
        for (earlier, later) in zip(ranges, ranges.dropFirst()) { #expect(earlier.upperBound < later.lowerBound) }
    }

    @Test(
        arguments: [
            ([:], nil, false), (["OMPI_COMM_WORLD_SIZE": "4", "PMI_RANK": "1"], 4, false),
            (["PMI_SIZE": "3", "PMI_RANK": "2"], 3, true), (["PMI_RANK": "0"], nil, true),
            (["OMPI_COMM_WORLD_SIZE": "many"], nil, false),
        ] as [([String: String], Int?, Bool)])
    func launchersAreRecognized(_ environment: [String: String], _ count: Int?, _ isMPICH: Bool) {
        let launch = MPILaunch { environment[$0] }
        #expect(launch.count == count && launch.isMPICH == isMPICH)
    }
}
