import LyraBase

/// Ranges of the options, as include/lyra.h states them. They are checked before anything is computed with the options,
/// so that no sum or product of them overflows.
enum OptionRange {
    /// Of what is counted in 32 bits: tokens and candidates.
    static let counts = 1...Int(Int32.max)
    /// Pixels of the largest picture that can be, of 65,536 rows and columns.
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
    /// Bytes of a system prompt, as of any text.
    static let textBytes = 0...64 << 20

    /// Checks an option that was given; nil is its default. NaN lies in no range.
    ///
    /// - Parameter words: the range for a person; nil for its ends
    /// - Throws: `LyraError.argument` that names the option, its value and its range.
    static func check<Value: Comparable>(
        _ name: String, _ value: Value?, _ range: ClosedRange<Value>, _ words: String? = nil
    ) throws {
        guard let value, !range.contains(value) else { return }
        throw LyraError(
            .argument, "\(name) is \(value); it can be \(words ?? "\(range.lowerBound) to \(range.upperBound)")")
    }
}

extension SessionOptions {
    /// - Throws: `LyraError.argument` that names an option out of its range, its value and the range.
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
        try OptionRange.check("limit_seconds", limitSeconds, OptionRange.seconds, "above 0, and 1e9 at most")
        try OptionRange.check("max_memory_bytes", maxMemoryBytes, OptionRange.bytes)
        try OptionRange.check("the length of system_prompt", systemPrompt.utf8.count, OptionRange.textBytes)
    }
}

extension VideoOptions {
    /// - Throws: `LyraError.argument` that names an option out of its range, its value and the range.
    func check() throws {
        try OptionRange.check(
            "frames_per_second", framesPerSecond, OptionRange.framesPerSecond, "above 0, and 1000 at most")
        try OptionRange.check("max_frames", maxFrames, OptionRange.frames)
    }
}
