import LyraBase
import LyraTensor

/// Changes parameters by their gradients, by the rule of each one's group: AdamW or Muon.
///
/// Moments and parameters are floats. An update does not depend on the number of threads, so a run that is continued
/// from saved parameters and `Moments` continues bit for bit.
public struct Optimizer: Sendable {
    /// Parameters that share their settings.
    public struct Group: Sendable, Equatable {
        public enum Rule: Sendable, Equatable {
            /// See AdamW.swift.
            case adamW
            /// For matrices alone; see Muon.swift. `beta1` is its momentum; `beta2` and `epsilon` are not used.
            case muon
        }

        public var rule: Rule
        /// η, before the schedule's factor.
        public var learningRate: Double
        /// λ: each step takes this share of η · w off w.
        public var weightDecay: Double
        /// Decay of the mean of gradients, β1, and of their squares, β2.
        public var beta1, beta2: Double
        public var epsilon: Double

        public init(
            _ rule: Rule = .adamW, learningRate: Double, weightDecay: Double = 0, beta1: Double = 0.9,
            beta2: Double = 0.999, epsilon: Double = 1e-8
        ) {
            self.rule = rule
            self.learningRate = learningRate
            self.weightDecay = weightDecay
            (self.beta1, self.beta2) = (beta1, beta2)
            self.epsilon = epsilon
        }

        func check() throws {
            let finite = Double.greatestFiniteMagnitude
            // ε is a float in the division, and must not become 0.
            for (name, value, range, words) in [
                ("learning rate", learningRate, 0...finite, "0 or more"),
                ("weight decay", weightDecay, 0...finite, "0 or more"),
                ("beta1", beta1, 0...(1 as Double).nextDown, "0 or more, and below 1"),
                ("beta2", beta2, 0...(1 as Double).nextDown, "0 or more, and below 1"),
                ("epsilon", epsilon, 1e-30...1, "1e-30 to 1"),
            ] where !range.contains(value) {
                throw LyraError(.argument, "optimizer: the \(name) is \(value); it must be \(words)")
            }
        }
    }

    /// What the optimizer remembers of a parameter.
    public struct Moments: Sendable {
        /// Updates so far.
        public let steps: Int
        /// AdamW: the decaying mean of the gradient, and of its square. Muon: the momentum, and 0. Both are in the
        /// parameter's shape.
        public let first, second: Tensor

        public init(steps: Int, first: Tensor, second: Tensor) {
            (self.steps, self.first, self.second) = (steps, first, second)
        }
    }

    /// A parameter's moments and group.
    struct Slot: Sendable {
        let group: Int
        var steps = 0
        var first, second: Tensor
    }

    /// In the order in which the parameters were added.
    public private(set) var names: [String] = []
    /// Settings can change between updates.
    public private(set) var groups: [Group]
    private var slots: [String: Slot] = [:]

    /// - Throws: `LyraError.argument` if a number is out of range, or there is no group.
    public init(groups: [Group]) throws {
        guard !groups.isEmpty else { throw LyraError(.argument, "optimizer: there is no group of parameters") }
        for group in groups { try group.check() }
        self.groups = groups
    }

    /// Adds a parameter, with moments of 0.
    ///
    /// - Throws: `LyraError.argument` if the name is taken or there is no such group, `.memory` if there is no room.
    public mutating func add(_ name: String, shape: [Int], group: Int = 0) throws {
        guard slots[name] == nil else {
            throw LyraError(.argument, "optimizer: parameter \(shown(name)) is there twice")
        }
        guard groups.indices.contains(group) else {
            throw LyraError(
                .argument, "optimizer: parameter \(shown(name)) is in group \(group), but there are \(groups.count)")
        }
        guard groups[group].rule == .adamW || shape.count == 2 else {
            throw LyraError(
                .argument, "optimizer: Muon is for matrices, but parameter \(shown(name)) has shape \(shape)")
        }
        slots[name] = Slot(group: group, first: try Tensor(zeros: shape), second: try Tensor(zeros: shape))
        names.append(name)
    }

    /// One step for one parameter: all of it, or nothing if it throws. An interruption waits until it is done, so that
    /// parameters and moments always fit together.
    ///
    /// - Parameters:
    ///   - parameter: updated in place if no other tensor shares its memory
    ///   - gradient: in the parameter's shape
    ///   - rateFactor: the schedule's factor of the learning rate
    ///   - gradientScale: a factor of the gradient: the clipping's, the batch's
    /// - Throws: `LyraError.argument` if the name is unknown, a shape differs, or a factor is not finite; `.memory` if
    ///   there is no room for a copy.
    public mutating func update(
        _ name: String, _ parameter: inout Tensor, gradient: Tensor, rateFactor: Double = 1, gradientScale: Double = 1
    ) throws {
        let index = try slot(of: name, parameter.shape, gradient, rateFactor, gradientScale)
        try Interruption.never {
            try parameter.withMutableValues {
                try slots.values[index].update($0, gradient, groups, rateFactor, gradientScale)
            }
        }
    }

    /// The same for a parameter that networks share.
    package mutating func update(
        _ name: String, _ parameter: TrainableParameter, gradient: Tensor, rateFactor: Double = 1,
        gradientScale: Double = 1
    ) throws {
        let index = try slot(of: name, parameter.shape, gradient, rateFactor, gradientScale)
        try Interruption.never {
            try parameter.withValues {
                try slots.values[index].update($0, gradient, groups, rateFactor, gradientScale)
            }
        }
    }

    /// Checks the operands of an update. → where the parameter's moments are
    private func slot(
        of name: String, _ shape: [Int], _ gradient: Tensor, _ rateFactor: Double, _ gradientScale: Double
    ) throws -> Dictionary<String, Slot>.Index {
        guard let index = slots.index(forKey: name) else { throw unknown(name) }
        let added = slots.values[index].first.shape
        guard shape == added, gradient.shape == added else {
            throw LyraError(
                .argument,
                "optimizer: parameter \(shown(name)) has shape \(added), but is updated as \(shape) with a "
                    + "gradient of \(gradient.shape)")
        }
        guard rateFactor.isFinite, gradientScale.isFinite else {
            throw LyraError(
                .argument,
                "optimizer: the rate's factor is \(rateFactor), the gradient's \(gradientScale); they must be finite")
        }
        return index
    }

    /// Changes a group's settings, but not its rule, for the updates to come.
    ///
    /// - Throws: `LyraError.argument` if there is no such group, the rule differs, or a number is out of range.
    public mutating func set(_ group: Group, at index: Int) throws {
        guard groups.indices.contains(index) else {
            throw LyraError(.argument, "optimizer: there is no group \(index); there are \(groups.count)")
        }
        try group.check()
        guard group.rule == groups[index].rule else {
            throw LyraError(.argument, "optimizer: the rule of group \(index) cannot change")
        }
        groups[index] = group
    }

    private func unknown(_ name: String) -> LyraError { LyraError(.argument, "optimizer: no parameter \(shown(name))") }
}

// MARK: - Saving

extension Optimizer {
    /// What to save of a parameter; nil if the name is unknown. While the result lives, an update copies the moments.
    public func moments(of name: String) -> Moments? {
        slots[name].map { Moments(steps: $0.steps, first: $0.first, second: $0.second) }
    }

    /// Continues from saved moments.
    ///
    /// - Throws: `LyraError.argument` if the name is unknown; `.format` if the moments do not fit the parameter.
    public mutating func restore(_ moments: Moments, of name: String) throws {
        guard let index = slots.index(forKey: name) else { throw unknown(name) }
        let shape = slots.values[index].first.shape
        guard moments.first.shape == shape, moments.second.shape == shape, moments.steps >= 0 else {
            throw LyraError(
                .format,
                "optimizer: moments of shapes \(moments.first.shape) and \(moments.second.shape) after \(moments.steps) "
                    + "steps do not fit parameter \(shown(name)) of shape \(shape)")
        }
        slots.values[index].steps = moments.steps
        slots.values[index].first = moments.first
        slots.values[index].second = moments.second
    }
}

// MARK: - The step

extension Optimizer.Slot {
    fileprivate mutating func update(
        _ parameter: UnsafeMutablePointer<Float>, _ gradient: Tensor, _ groups: [Optimizer.Group],
        _ rateFactor: Double, _ gradientScale: Double
    ) throws {
        let settings = groups[group], rate = settings.learningRate * rateFactor
        switch settings.rule {
        case .adamW: try stepAdamW(parameter, gradient, settings, rate: rate, gradientScale: gradientScale)
        case .muon: try stepMuon(parameter, gradient, settings, rate: rate, gradientScale: gradientScale)
        }
        steps += 1
    }
}
