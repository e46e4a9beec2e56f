import Glibc
import LyraTensor

/// A token's position in time, height and width. Text and speech use the same number for all three.
public struct Position: Equatable, Sendable, BitwiseCopyable {
    public var time: Int32
    public var height: Int32
    public var width: Int32

    public init(_ all: Int32) { (time, height, width) = (all, all, all) }
    public init(time: Int32, height: Int32, width: Int32) {
        self.time = time
        self.height = height
        self.width = width
    }
}

/// Rotary position embedding with M-RoPE's sections (Qwen2-VL, arXiv 2409.12191): each frequency pair of a head uses
/// one of the three coordinates.
struct RotaryEmbedding: Sendable {
    private let inverseFrequencies: [Float]
    private let axes: [UInt8]

    /// - Parameter sections: number of pairs for time, height and width; empty for plain RoPE.
    init(headDim: Int, theta: Double, sections: [Int]) {
        inverseFrequencies = (0..<headDim / 2).map { pair in
            1 / Float(pow(theta, Double(Float(2 * pair) / Float(headDim))))
        }
        axes =
            sections.isEmpty
            ? [UInt8](repeating: 0, count: headDim / 2)
            : sections.enumerated().flatMap { [UInt8](repeating: UInt8($0.offset), count: $0.element) }
    }

    /// The rotation of queries and keys at `positions`.
    func callAsFunction(_ positions: some Collection<Position>) throws -> Rotation {
        let ids = positions.map { (Float($0.time), Float($0.height), Float($0.width)) }
        return try Rotation(
            angles: Tensor(rows: ids.count, columns: inverseFrequencies.count) { row, pair in
                let id = axes[pair] == 0 ? ids[row].0 : axes[pair] == 1 ? ids[row].1 : ids[row].2
                return id * inverseFrequencies[pair]
            })
    }
}
