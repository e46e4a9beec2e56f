import LyraBase

/// Ranges of the options, as include/lyra.h states them. Checked before any use of the options, so that no sum or
/// product overflows.
enum OptionRange {
    /// For counts in 32 bits: tokens and candidates.
    static let counts = 1...Int(Int32.max)
    /// Up to the largest possible image, 65,536 × 65,536 pixels.
    static let pixels = 1...1 << 32
    static let imagePixels = 3136...1 << 32
    /// Up to a pebibyte.
    static let bytes = 1...1 << 50
    /// Up to 31 years.
    static let seconds = Double.leastNonzeroMagnitude...1e9
    static let share: ClosedRange<Float> = 0...1
    static let positive = Float.leastNonzeroMagnitude...Float.greatestFiniteMagnitude
    static let framesPerSecond = Double.leastNonzeroMagnitude...1000
    static let frames = 1...65_536
    /// Length of a system prompt in bytes, as for any text.
    static let textBytes = 0...64 << 20

    /// Checks an option; nil means the default. NaN is out of every range.
    ///
    /// - Parameter words: description of the range for messages; nil to show its bounds
    /// - Throws: `LyraError.argument` with the option's name, value and range.
    static func check<Value: Comparable>(
        _ name: String, _ value: Value?, _ range: ClosedRange<Value>, _ words: String? = nil
    ) throws {
        guard let value, !range.contains(value) else { return }
        throw LyraError(
            .argument, "\(name) is \(value); it can be \(words ?? "\(range.lowerBound) to \(range.upperBound)")")
    }
}

extension SessionOptions {
    /// - Throws: `LyraError.argument` with the name, value and range of an option that is out of range.
    func check() throws {
        try OptionRange.check("temperature", temperature, OptionRange.positive, "a finite number above 0")
        try OptionRange.check("top_k", topK, 0...Int(Int32.max))
        try OptionRange.check("top_p", topP, OptionRange.share, "0 to 1")
        try OptionRange.check("min_p", minP, OptionRange.share, "0 to 1")
        try OptionRange.check(
            "repetition_penalty", repetitionPenalty, OptionRange.positive, "a finite number above 0")
        try OptionRange.check("max_new_tokens", maxNewTokens, OptionRange.counts)
        try OptionRange.check("max_context_tokens", maxContextTokens, OptionRange.counts)
        try OptionRange.check("max_image_pixels", maxImagePixels, OptionRange.imagePixels)
        try OptionRange.check("limit_pixels", limitPixels, OptionRange.pixels)
        try OptionRange.check("limit_seconds", limitSeconds, OptionRange.seconds, "above 0, at most 1e9")
        try OptionRange.check("max_memory_bytes", maxMemoryBytes, OptionRange.bytes)
        try OptionRange.check("the length of system_prompt", systemPrompt.utf8.count, OptionRange.textBytes)
    }
}

extension VideoOptions {
    /// - Throws: `LyraError.argument` with the name, value and range of an option that is out of range.
    func check() throws {
        try OptionRange.check(
            "frames_per_second", framesPerSecond, OptionRange.framesPerSecond, "above 0, at most 1000")
        try OptionRange.check("max_frames", maxFrames, OptionRange.frames)
    }
}
