import LyraBase

/// Indices in descending order of their scores; ties keep the lower index first. Omits NaN scores.
///
/// A stable byte-wise radix sort, because Array.sort cannot report allocation failure.
///
/// - Throws: `LyraError.memory` if there is no room.
public func ranked(_ buffer: GrowingBuffer<Float>) throws -> GrowingBuffer<Int32> {
    let indices = GrowingBuffer<Int32>(), other = GrowingBuffer<Int32>()
    let scores = buffer.elements
    try indices.reserve(scores.count)
    for index in scores.indices where !scores[index].isNaN { try indices.append(Int32(index)) }
    try other.resize(to: indices.count)
    defer { withExtendedLifetime((buffer, other)) {} }
    var (from, to) = (indices.elements, other.elements)
    // An even number of passes, so that the result ends in `indices`.
    for shift in stride(from: UInt32(0), to: 32, by: 8) {
        var starts = [Int](repeating: 0, count: 257)
        for index in from { starts[digit(of: scores[Int(index)], shift) + 1] += 1 }
        for digit in 1..<256 { starts[digit] += starts[digit - 1] }
        for index in from {
            let digit = digit(of: scores[Int(index)], shift)
            to[starts[digit]] = index
            starts[digit] += 1
        }
        swap(&from, &to)
    }
    return indices
}

/// One byte of a sort key that decreases with the score. Both zeros are equal.
private func digit(of score: Float, _ shift: UInt32) -> Int {
    let bits = (score + 0).bitPattern
    let order = bits & 1 << 31 == 0 ? ~(bits | 1 << 31) : bits
    return Int(order >> shift & 255)
}
