import LyraMedia

/// A recording on its way to an encoder, reported once if all of it is silent.
final class SilenceWatch: SampleSource {
    /// Samples below this are silence: -60 dB of full scale, after the channels were averaged.
    static let threshold: Float = 1e-3

    private let source: any SampleSource
    private let report: (_ what: String) -> Void
    private var samples: Int64 = 0
    private var isHeard = false
    private var isReported = false

    /// - Parameter report: called at the recording's end, with a sentence, if it is empty, silent or not whole
    init(_ source: any SampleSource, report: @escaping (String) -> Void) {
        self.source = source
        self.report = report
    }

    var name: String { source.name }
    var sampleRate: Int { source.sampleRate }
    var length: SourceLength? { source.length }
    var omissions: [String] { source.omissions }

    var isAtEnd: Bool {
        guard source.isAtEnd else { return false }
        if !isReported { source.omissions.forEach(report) }
        defer { isReported = true }
        if !isHeard, !isReported {
            report(samples == 0 ? "has no samples" : "is silent: all its samples are below -60 dB of full scale")
        }
        return true
    }

    func read(into buffer: UnsafeMutableBufferPointer<Float>) throws -> Int {
        let count = try source.read(into: buffer)
        samples += Int64(count)
        // The first sounds end the search.
        if !isHeard { isHeard = buffer[..<count].contains { $0.magnitude >= Self.threshold } }
        return count
    }
}
