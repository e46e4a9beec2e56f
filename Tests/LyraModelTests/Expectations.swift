import LyraBase
import Testing

/// The error that `body` throws; records an issue when it throws none, or one of another type.
func lyraError(at location: SourceLocation = #_sourceLocation, _ body: () throws -> Void) -> LyraError {
    do {
        try body()
        Issue.record("no error was thrown", sourceLocation: location)
    } catch let error as LyraError {
        return error
    } catch {
        Issue.record("not a LyraError: \(error)", sourceLocation: location)
    }
    return LyraError(.closed, "")
}

/// Checks that `body` throws a LyraError of this kind whose message contains all of `parts`.
func expect(
    _ code: LyraError.Code, _ parts: String..., at location: SourceLocation = #_sourceLocation,
    _ body: () throws -> Void
) {
    let error = lyraError(at: location, body)
    #expect(error.code == code, "\(error.message)", sourceLocation: location)
    for part in parts {
        #expect(error.message.contains(part), "\(error.message)", sourceLocation: location)
    }
}

/// SplitMix64: the seed determines the numbers.
struct SeededGenerator: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
