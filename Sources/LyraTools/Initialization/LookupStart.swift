import Glibc
import LyraModel

/// Initial values of the language model's attention, with which it finds earlier occurrences of a token before any
/// training.
///
/// A small model that starts from random attention learns at first only which words are common. It learns to find a row
/// that another row asks about after very many examples, or never, since two layers have to agree (an induction head:
/// Olsson et al., arXiv 2209.11895). So training starts from layers that agree:
///
/// - Layer 0: query head h sees the row h + 1 before. Biases of queries and keys decide it, at the pairs that RoPE
///   turns fast (with M-RoPE, the pairs of time: they do not tell rows of one picture apart). Each head's values are
///   added to columns of their own: the output's matrix is a multiple of the identity.
/// - The layers after it: query head 0 asks what row follows one like this. Its keys are what the row before said, from
///   those columns; its queries are the same of the row itself. Every second layer compares with rows further back. It
///   copies what it finds, for its output is the transpose of its values: with tied embeddings, the score of the token
///   that it finds rises. The first head of each other group prefers rows like its own, and the remaining heads the row
///   before.
///
/// The content is compared at pairs that RoPE hardly turns. All else is random, and everything is trained.
struct LookupStart {
    /// A tensor of a layer's attention.
    enum Part: String {
        case queries = "q_proj.weight"
        case keys = "k_proj.weight"
        case values = "v_proj.weight"
        case outputs = "o_proj.weight"
        case queryBias = "q_proj.bias"
        case keyBias = "k_proj.bias"
    }

    private let width, heads, kvHeads, headDim, layer: Int
    /// Pairs of a head's columns that RoPE turns fast, with their radians a row; columns of those it hardly turns.
    private let fast: [(pair: Int, frequency: Double)]
    private let slow: [Int]
    /// Size of the stream before the first layer.
    private let stream: Float

    /// How much more a head of layer 0 prefers its row to the next one: e^2.5 = 12.
    private static let sharpness = 2.5
    /// The same of heads that see the row before in other layers.
    private static let nearness = 1.0
    /// Score of a row with one that is alike, where unlike ones have about 0.
    private static let likeness: Float = 6
    /// Of rows of width √d: what a lookup's queries and keys are larger by, since others fill the stream too.
    private static let (queryGain, keyGain): (Float, Float) = (1.5, 3)
    /// How much of a row is copied, relative to the stream: by lookups, and by other heads.
    private static let (copied, hinted): (Float, Float) = (2, 0.2)
    /// What layer 0 adds to each column, relative to the stream.
    private static let told: Float = 1.4
    /// Deviation of all other queries and keys, relative to 1 / √width.
    private static let noise: Float = 0.3

    /// - Parameter stream: root mean square of the embeddings
    /// - Returns: nil if the heads are too narrow
    init?(_ language: DecoderConfiguration, layer: Int, stream: Float) {
        (width, heads, kvHeads) = (language.hiddenSize, language.heads, language.kvHeads)
        headDim = language.headDim
        (self.layer, self.stream) = (layer, stream)
        let half = headDim / 2
        let frequencies = (0..<half).map { pow(language.ropeTheta, -Double($0) / Double(half)) }
        fast = frequencies.enumerated().filter { $0.element > 1.0 / 8 }.map { ($0.offset, $0.element) }
        let slowPairs = frequencies.indices.filter { frequencies[$0] <= 1.0 / 100 }
        slow = slowPairs + slowPairs.map { $0 + half }
        guard headDim * heads == width, kvHeads > 0, heads % kvHeads == 0, slow.count >= 8, !fast.isEmpty else {
            return nil
        }
    }

    /// Query heads that share a key head.
    private var group: Int { heads / kvHeads }

    /// Fills a tensor of the layer.
    ///
    /// - Parameters:
    ///   - values: [outputs, inputs], or the bias's [outputs]
    ///   - random: the numbers of the attention's part of a layer, in −1..<1
    func fill(
        _ part: Part, _ values: UnsafeMutablePointer<Float>, count: Int,
        random: (_ layer: Int, _ part: Part) -> UniformGenerator
    ) {
        switch part {
        case .queryBias: fillBias(values, count: count) { head in queryBias(head) }
        case .keyBias: fillBias(values, count: count) { _ in (sharpAmplitude, 0) }
        case .values: fillRandom(values, count: count, deviation: valueDeviation, random(layer, .values))
        case .outputs: fillOutputs(values, valueRows: rows(of: random(layer, .values)))
        case .queries, .keys:
            fillRandom(values, count: count, deviation: Self.noise * valueDeviation, random(layer, part))
            guard layer > 0 else { return }
            if part == .keys { addLookupKeys(values) } else { addLookupQueries(values, rows(of: random(0, .values))) }
            // Queries and keys need the same numbers; the bias of the keys has none of its own.
            addLikeness(part, values, random(layer, .keyBias))
        }
    }

    // MARK: Position

    /// Amplitude of the keys' and of layer 0's queries' biases: a² · Σ (1 − cos ω) / √headDim = sharpness.
    private var sharpAmplitude: Double {
        let drop = fast.reduce(0.0) { $0 + 1 - cos($1.frequency) }
        return (Self.sharpness * Double(headDim).squareRoot() / drop).squareRoot()
    }

    /// Amplitude, and how many rows back it looks.
    private func queryBias(_ head: Int) -> (amplitude: Double, back: Int) {
        if layer == 0 { return (sharpAmplitude, head + 1) }
        let isNear = head % group > 0
        return (isNear ? sharpAmplitude * Self.nearness / Self.sharpness : 0, 1)
    }

    /// A pair (cos φ, sin φ) is turned by ω · position. With φ = −ω · back the query's is at the key's that far back.
    private func fillBias(
        _ values: UnsafeMutablePointer<Float>, count: Int, _ bias: (_ head: Int) -> (amplitude: Double, back: Int)
    ) {
        values.initialize(repeating: 0, count: count)
        for head in 0..<count / headDim {
            let (amplitude, back) = bias(head)
            for (pair, frequency) in fast {
                let angle = -frequency * Double(back)
                values[head * headDim + pair] = Float(amplitude * cos(angle))
                values[head * headDim + headDim / 2 + pair] = Float(amplitude * sin(angle))
            }
        }
    }

    // MARK: Content

    private var valueDeviation: Float { 1 / Float(width).squareRoot() }

    /// Deviation σ of a projection P of a row of size 1 to the slow columns: (P x)² / √headDim = likeness.
    private var likenessDeviation: Float {
        (Self.likeness * Float(headDim).squareRoot() / Float(slow.count * width)).squareRoot()
    }

    /// The head of layer 0 whose row the lookup compares: that before in every second layer, others between.
    private var comparedHead: Int { layer % 2 == 1 ? 0 : layer / 2 % heads }

    /// Length of a row of a lookup's queries, without its gain.
    private var lookupGain: Float { likenessDeviation * Float(width).squareRoot() }

    /// The columns to which layer 0 has added the values of the compared head.
    private func addLookupKeys(_ values: UnsafeMutablePointer<Float>) {
        for (index, row) in slow.enumerated() {
            values[row * width + comparedHead * headDim + index] += lookupGain * Self.keyGain
        }
    }

    /// The values that layer 0 would make of the row itself.
    ///
    /// - Parameter first: the rows of layer 0's values
    private func addLookupQueries(_ values: UnsafeMutablePointer<Float>, _ first: [[Float]]) {
        let gain = lookupGain * Self.queryGain
        for (index, row) in slow.enumerated() {
            let source = first[comparedHead / group * headDim + index]
            for column in 0..<width { values[row * width + column] += gain * source[column] }
        }
    }

    /// The first head of each group but the first has queries and keys that are the same projection.
    private func addLikeness(_ part: Part, _ values: UnsafeMutablePointer<Float>, _ random: UniformGenerator) {
        var random = random
        for kvHead in 1..<kvHeads {
            let head = part == .keys ? kvHead : kvHead * group
            for row in slow {
                for column in 0..<width {
                    let number = random.next() * InitialValues.bound(likenessDeviation)
                    values[(head * headDim + row) * width + column] += number
                }
            }
        }
    }

    /// - Parameter values: [width, width]
    private func fillOutputs(_ values: UnsafeMutablePointer<Float>, valueRows: [[Float]]) {
        values.initialize(repeating: 0, count: width * width)
        guard layer > 0 else {
            for column in 0..<width { values[column * width + column] = Self.told * stream }
            return
        }
        for head in 0..<heads {
            let size = stream * (head == 0 ? Self.copied : Self.hinted)
            for place in 0..<headDim {
                let source = valueRows[head / group * headDim + place]
                for row in 0..<width { values[row * width + head * headDim + place] = size * source[row] }
            }
        }
    }

    // MARK: Random numbers

    private func fillRandom(
        _ values: UnsafeMutablePointer<Float>, count: Int, deviation: Float, _ random: UniformGenerator
    ) {
        var random = random
        let bound = InitialValues.bound(deviation)
        for index in 0..<count { values[index] = random.next() * bound }
    }

    /// The matrix of a layer's values, row by row.
    private func rows(of random: UniformGenerator) -> [[Float]] {
        var random = random
        let bound = InitialValues.bound(valueDeviation)
        return (0..<kvHeads * headDim).map { _ in (0..<width).map { _ in random.next() * bound } }
    }
}
