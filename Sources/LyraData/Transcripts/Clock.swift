/// Times in texts.
enum Clock {
    /// Whole seconds as "01:05" or "1:01:05".
    static func text(_ seconds: Int) -> String {
        func two(_ number: Int) -> String { number < 10 ? "0\(number)" : "\(number)" }
        let (hours, rest) = max(seconds, 0).quotientAndRemainder(dividingBy: 3600)
        return (hours > 0 ? "\(hours):" : "") + "\(two(rest / 60)):\(two(rest % 60))"
    }

    /// The whole second at or before a time. A cue's times are below 10,000 hours.
    static func before(_ seconds: Double) -> String { text(Int(seconds.rounded(.down))) }

    /// The whole second at or after a time.
    static func after(_ seconds: Double) -> String { text(Int(seconds.rounded(.up))) }
}
