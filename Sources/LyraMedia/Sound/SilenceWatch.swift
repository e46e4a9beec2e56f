import LyraBase

/// Passes a recording on to an encoder and reports once, at its end, if the recording is silent or incomplete.
public final class SilenceWatch: SampleSource {
    /// Samples below this amplitude are silence: -60 dB of full scale, after averaging the channels.
    private static let threshold: Float = 1e-3

    private let source: any SampleSource
    private let report: (_ what: String) -> Void
    private var samples: Int64 = 0
    private var isAudible = false
    private var isReported = false

    /// - Parameter report: called at the end of the recording if it is empty, silent or incomplete, with the rest of a
    ///   sentence whose subject is the recording: "is silent …"
    public init(_ source: any SampleSource, report: @escaping (String) -> Void) {
        self.source = source
        self.report = report
    }

    /// Whether all samples are silence.
    public static func areSilent(_ samples: GrowingBuffer<Float>) -> Bool {
        withExtendedLifetime(samples) { samples.elements.allSatisfy { $0.magnitude < threshold } }
    }

    public var name: String { source.name }
    public var sampleRate: Int { source.sampleRate }
    public var length: SourceLength? { source.length }
    public var omissions: [String] { source.omissions }

    public var isAtEnd: Bool {
        guard source.isAtEnd else { return false }
        if !isReported { source.omissions.forEach(report) }
        defer { isReported = true }
        if !isAudible, !isReported {
            report(samples == 0 ? "has no samples" : "is silent: all its samples are below -60 dB of full scale")
        }
        return true
    }

    public func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        let count = try source.read(into: buffer)
        samples += Int64(count)
        // The first audible sample ends the check.
        if !isAudible { isAudible = buffer[..<count].contains { $0.magnitude >= Self.threshold } }
        return count
    }
}
