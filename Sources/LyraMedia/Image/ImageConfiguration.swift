import LyraBase

/// How images are prepared for a vision tower: the values of Qwen2-VL's preprocessor_config.json. A missing key has the
/// published value.
public struct ImageConfiguration: Decodable, Equatable, Sendable {
    /// Pixels along a patch's side (`patch_size`).
    public var patch = 14
    /// Frames that a patch spans (`temporal_patch_size`).
    public var temporalPatch = 2
    /// Patches along a token's side (`merge_size`).
    public var merge = 2
    /// The bounds on the pixels of a prepared image (`min_pixels`, `max_pixels`; or `size`).
    public var minPixels = 3136
    public var maxPixels = 12_845_056
    /// A value of 0 … 255 becomes (value · scale - mean) / deviation (`rescale_factor`, `image_mean`, `image_std`),
    /// with mean and deviation for red, green and blue.
    public var scale = 1.0 / 255
    public var mean: [Float] = [0.48145466, 0.4578275, 0.40821073]
    public var deviation: [Float] = [0.26862954, 0.26130258, 0.27577711]

    /// Pixels along a token's side. Prepared sizes are multiples of this.
    public var factor: Int { patch.checkedMultiplying(by: merge) ?? .max }

    public init() {}

    private enum CodingKeys: String, CodingKey {
        case patch_size, temporal_patch_size, merge_size, min_pixels, max_pixels, size, rescale_factor, image_mean
        case image_std
    }

    private struct Size: Decodable {
        var shortest_edge: Int?
        var longest_edge: Int?
        var min_pixels: Int?
        var max_pixels: Int?
    }

    public init(from decoder: any Decoder) throws {
        let values = try decoder.container(keyedBy: CodingKeys.self)
        let size = try values.decodeIfPresent(Size.self, forKey: .size)
        func read<Value: Decodable>(_ key: CodingKeys, _ value: inout Value) throws {
            value = try values.decodeIfPresent(Value.self, forKey: key) ?? value
        }
        minPixels = size?.min_pixels ?? size?.shortest_edge ?? minPixels
        maxPixels = size?.max_pixels ?? size?.longest_edge ?? maxPixels
        try read(.min_pixels, &minPixels)
        try read(.max_pixels, &maxPixels)
        try read(.patch_size, &patch)
        try read(.temporal_patch_size, &temporalPatch)
        try read(.merge_size, &merge)
        try read(.rescale_factor, &scale)
        try read(.image_mean, &mean)
        try read(.image_std, &deviation)
    }

    /// - Throws: `LyraError(.format)`, naming `source`, if a value is invalid.
    public func validate(_ source: String) throws {
        func require(_ condition: Bool, _ message: String) throws {
            guard condition else { throw LyraError(.format, "\(source): \(message)") }
        }
        for (name, value, range) in [
            ("patch_size", patch, 1...256), ("temporal_patch_size", temporalPatch, 1...16),
            ("merge_size", merge, 1...8),
            ("min_pixels", minPixels, 1...1 << 28), ("max_pixels", maxPixels, 1...1 << 28),
        ] {
            try require(
                range.contains(value), "\(name) is \(value); it must be in \(range.lowerBound)…\(range.upperBound)")
        }
        try require(
            minPixels <= maxPixels && factor * factor <= maxPixels,
            "max_pixels is \(maxPixels), less than min_pixels or one token of \(factor) × \(factor) pixels")
        try require(scale > 0 && scale <= 1, "rescale_factor is \(scale); it must be in 0…1")
        try require(
            mean.count == 3 && mean.allSatisfy { $0.isFinite && abs($0) <= 1e3 },
            "image_mean must be three numbers of at most 1000")
        try require(
            deviation.count == 3 && deviation.allSatisfy { $0.isFinite && $0 >= 1e-6 && $0 <= 1e6 },
            "image_std must be three numbers in 1e-6…1e6")
    }
}
