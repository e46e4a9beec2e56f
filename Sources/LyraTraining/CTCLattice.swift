import Glibc
import LyraBase

/// The states of CTC's paths over the frames: a blank, the first target, a blank, the second target, …, a blank. A path
/// stays in its state, goes to the next, or from a target to the next target if they differ. Probabilities are
/// logarithms in double precision.
struct CTCLattice {
    let targets: [Int32]
    let blank: Int
    let frames: Int
    let classes: Int

    private var states: Int { 2 * targets.count + 1 }

    private func label(_ state: Int) -> Int { state % 2 == 0 ? blank : Int(targets[state / 2]) }

    /// Whether a path may come from the state two before.
    private func skips(to state: Int) -> Bool {
        state % 2 == 1 && state >= 3 && targets[state / 2] != targets[state / 2 - 1]
    }

    /// States that a path can be in at a frame, given that it starts in the first two and ends in the last two.
    private func reachable(at frame: Int) -> Range<Int> {
        max(0, states - 2 * (frames - frame))..<min(states, 2 * frame + 2)
    }

    /// - Parameter logits: [frames, classes], at least one frame; become the gradient of `scale` times the result. With
    ///   the probability q of a path's being in a state at a frame, that is
    ///   softmax − Σ q over the states of the class.
    /// - Returns: −log of the probability of all paths together
    /// - Throws: `LyraError.memory` if there is no room, `.state` if interrupted.
    func differentiate(_ logits: UnsafeMutablePointer<Float>, scale: Double) throws -> Double {
        let logSums = try GrowingBuffer(copying: (0..<frames).lazy.map { logSum(of: logits + $0 * classes) })
        guard logSums.allSatisfy(\.isFinite) else {
            logits.update(repeating: .nan, count: frames * classes)
            return .nan
        }
        let forward = try forwardVariables(logits, logSums)
        let last = frames - 1
        let ends = reachable(at: last).suffix(2).map { forward[last * states + $0] }
        let total = ends.dropFirst().reduce(ends.first ?? 0) { logAdded($0, $1, -.infinity) }
        guard total > -.infinity else {
            logits.update(repeating: 0, count: frames * classes)
            return .infinity
        }
        try goBack(logits, logSums, forward, total: total, scale: scale)
        return -total
    }

    private func logSum(of row: UnsafeMutablePointer<Float>) -> Double {
        let row = UnsafeBufferPointer(start: row, count: classes)
        let largest = row.reduce(-Float.infinity) { max($0, $1) }
        return Double(largest) + log(row.reduce(0.0) { $0 + exp(Double($1) - Double(largest)) })
    }

    /// log Σ of the probabilities with these logarithms
    private func logAdded(_ a: Double, _ b: Double, _ c: Double) -> Double {
        let largest = max(a, b, c)
        guard largest > -.infinity else { return largest }
        return largest + log(exp(a - largest) + exp(b - largest) + exp(c - largest))
    }

    /// The probability of all beginnings of paths that end in a state at a frame, the frame's own included:
    /// [frames, states]
    private func forwardVariables(
        _ logits: UnsafeMutablePointer<Float>, _ logSums: GrowingBuffer<Double>
    ) throws -> GrowingBuffer<Double> {
        guard let count = frames.checkedMultiplying(by: states) else {
            throw LyraError(.memory, "CTC: \(frames) frames and \(targets.count) targets are too many")
        }
        let buffer = try GrowingBuffer(repeating: -Double.infinity, count: count)
        let forward = buffer.elements
        for frame in 0..<frames {
            try Interruption.check()
            let (now, before) = (frame * states, (frame - 1) * states)
            for state in reachable(at: frame) {
                let score = Double(logits[frame * classes + label(state)]) - logSums[frame]
                guard frame > 0 else {
                    forward[now + state] = score
                    continue
                }
                let arrived = logAdded(
                    forward[before + state], state >= 1 ? forward[before + state - 1] : -.infinity,
                    skips(to: state) ? forward[before + state - 2] : -.infinity)
                forward[now + state] = arrived + score
            }
        }
        return buffer
    }

    /// Goes through the frames from the last, with the probability of all ends of paths from a state on, and turns each
    /// row of logits into its gradient.
    private func goBack(
        _ logits: UnsafeMutablePointer<Float>, _ logSums: GrowingBuffer<Double>, _ forward: GrowingBuffer<Double>,
        total: Double, scale: Double
    ) throws {
        let memory = try (
            GrowingBuffer(repeating: -Double.infinity, count: states),
            GrowingBuffer(repeating: -Double.infinity, count: states + 2), GrowingBuffer(repeating: 0.0, count: classes)
        )
        defer { withExtendedLifetime((memory, logSums, forward)) {} }
        // The probabilities of the ends, without the frame's own; and with it, padded by two states.
        let (ends, withFrame) = (memory.0.elements, memory.1.elements)
        let (occupied, logSums, forward) = (memory.2.elements, logSums.elements, forward.elements)
        for state in reachable(at: frames - 1).suffix(2) { ends[state] = 0 }
        for frame in stride(from: frames - 1, through: 0, by: -1) {
            try Interruption.check()
            let row = logits + frame * classes
            occupied.update(repeating: 0)
            withFrame.update(repeating: -.infinity)
            for state in reachable(at: frame) {
                let label = label(state)
                occupied[label] += exp(forward[frame * states + state] + ends[state] - total)
                withFrame[state] = ends[state] + Double(row[label]) - logSums[frame]
            }
            for label in 0..<classes {
                let probability = exp(Double(row[label]) - logSums[frame])
                row[label] = Float(scale * (probability - occupied[label]))
            }
            ends.update(repeating: -.infinity)
            guard frame > 0 else { return }
            for state in reachable(at: frame - 1) {
                let canSkip = state + 2 < states && skips(to: state + 2)
                ends[state] = logAdded(
                    withFrame[state], withFrame[state + 1], canSkip ? withFrame[state + 2] : -.infinity)
            }
        }
    }
}
