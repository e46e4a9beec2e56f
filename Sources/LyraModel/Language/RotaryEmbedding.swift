import Glibc
import LyraTensor

/// Where a token stands: in time, height and width. Text and speech use one number for all three.
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

/// Rotary position embedding with M-RoPE's sections (Qwen2-VL, arXiv 2409.12191): each frequency pair of a head follows
/// one of the three axes.
struct RotaryEmbedding: Sendable {
    private let inverseFrequencies: [Float]
    private let axes: [UInt8]

    /// - Parameter sections: pairs for time, height, width; empty means plain RoPE.
    init(headDim: Int, theta: Double, sections: [Int]) {
        inverseFrequencies = (0..<headDim / 2).map { pair in
            1 / Float(pow(theta, Double(Float(2 * pair) / Float(headDim))))
        }
        axes =
            sections.isEmpty
            ? [UInt8](repeating: 0, count: headDim / 2)
            : sections.enumerated().flatMap { [UInt8](repeating: UInt8($0.offset), count: $0.element) }
    }

    /// Cosines and sines for `positions`: each [positions, headDim / 2].
    func tables(_ positions: some Collection<Position>) throws -> (cos: Tensor, sin: Tensor) {
        let half = inverseFrequencies.count
        let angles = try Tensor([positions.count, half]) { out in
            for (row, position) in positions.enumerated() {
                let ids = (Float(position.time), Float(position.height), Float(position.width))
                for pair in 0..<half {
                    let id = axes[pair] == 0 ? ids.0 : axes[pair] == 1 ? ids.1 : ids.2
                    out[row * half + pair] = id * inverseFrequencies[pair]
                }
            }
        }
        return (try angles.mapped(cosf), try angles.mapped(sinf))
    }
}
