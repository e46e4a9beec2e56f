import LyraBase

/// Opens the sound of a file of any format: MP3 with libmpg123, the formats of libsndfile with libsndfile, all others
/// with FFmpeg.
public enum AudioDecoder {
    /// Opens the sound of an audio file (WAV, FLAC, OGG, MP3, M4A, AAC, …) or of a video (MP4, MOV, WebM, …).
    ///
    /// - Throws: `LyraError(.io)` if the file cannot be read, `.format` if it is not audio, `.missing` for a video
    ///   without sound, `.memory` if the file exceeds a limit, `.state` if interrupted.
    public static func open(
        path: String, limits: MediaLimits = MediaLimits(), interrupted: @escaping () -> Bool = { false }
    ) throws -> any SampleSource {
        let reader = try FileByteReader(path: path, limits: limits, interrupted: interrupted)
        return try open(reader: reader, name: path, limits: limits, interrupted: interrupted)
    }

    /// Opens the sound of an encoded file that `reader` reads. The decoder keeps the reader.
    public static func open(
        reader: any ByteReader, name: String, limits: MediaLimits = MediaLimits(),
        interrupted: @escaping () -> Bool = { false }
    ) throws -> any SampleSource {
        _ = try reader.checkedSize(name: name)
        let body = try LeadingTags.skipped(reader, name: name)
        let format = try MediaFormat(body, name: name)
        let opener = Opener(body: body, name: name, limits: limits, interrupted: interrupted)
        return format == .ogg ? try opener.openOgg() : try opener.open(format)
    }

    /// Opens the bytes after a file's tags.
    private struct Opener {
        let body: any ByteReader
        let name: String
        let limits: MediaLimits
        let interrupted: () -> Bool

        func open(_ format: MediaFormat) throws -> any SampleSource {
            let mpeg = { JoinedSource(try MP3Decoder(reader: body, name: name, interrupted: interrupted)) }
            let media = {
                JoinedSource(
                    try FFmpegAudioDecoder(reader: body, name: name, limits: limits, interrupted: interrupted))
            }
            switch format {
            case .sound:
                let sound = try SoundHeader.repaired(body, name: name)
                return try first([
                    { JoinedSource(try SndfileDecoder(reader: sound, name: name)) },
                    {
                        JoinedSource(
                            try FFmpegAudioDecoder(reader: sound, name: name, limits: limits, interrupted: interrupted))
                    },
                ])
            case .mpegWave: return try first([mpeg, media])
            case .ogg: return try first([{ try SndfileDecoder(reader: body, name: name) }, media])
            case .media(let demuxer?) where demuxer != "aac": return try first([media])
            case .media: return try first([media, mpeg, { try SndfileDecoder(reader: body, name: name) }])
            case .mpegAudio, .unknown:
                return try first([mpeg, { try SndfileDecoder(reader: body, name: name) }, media])
            }
        }

        /// The result of the first attempt that does not fail with `.format`.
        private func first(_ attempts: [() throws -> any SampleSource]) throws -> any SampleSource {
            var reasons: [String] = []
            for attempt in attempts {
                do {
                    return try attempt()
                } catch let error as LyraError where error.code == .format {
                    // Messages begin with "name: ".
                    let reason = String(error.message.dropFirst(name.count + 2))
                    if !reasons.contains(reason) { reasons.append(reason) }
                }
            }
            throw LyraError(.format, "\(name): not audio that lyra can decode (\(reasons.joined(separator: "; ")))")
        }

        // MARK: - Ogg

        /// An Ogg file, or several that were joined: each link (logical stream) is decoded like a file of its own.
        func openOgg() throws -> any SampleSource {
            guard let second = try nextLink(after: 0) else { return try open(.ogg) }
            var start: Int64? = second
            var omissions: [String] = []
            let first: any SampleSource
            do { first = try link(0, second).open(.ogg) } catch let error as LyraError where Self.skipsLink(error) {
                note(error, at: 0, in: &omissions)
                guard let other = try nextSource(&start, &omissions) else { throw error }
                first = other
            }
            let size = try body.size
            let length = first.length.map {
                SourceLength.about(Int64(min(Double($0.samples) * Double(size) / Double(second), 9e15)))
            }
            return JoinedSource(first: first, length: length, omissions: omissions) { try nextSource(&start, &$0) }
        }

        /// Opens the next link that can be decoded. `start` becomes the start of the link after it.
        private func nextSource(_ start: inout Int64?, _ omissions: inout [String]) throws -> (any SampleSource)? {
            while let begin = start {
                let end = try nextLink(after: begin)
                start = end
                do {
                    return try link(begin, end).open(.ogg)
                } catch let error as LyraError where Self.skipsLink(error) {
                    note(error, at: begin, in: &omissions)
                }
            }
            return nil
        }

        /// The most damaged links that are reported individually.
        private static let maxOmissions = 16

        /// Reports a damaged link. A link without sound is no omission.
        private func note(_ error: LyraError, at offset: Int64, in omissions: inout [String]) {
            guard error.code == .format, omissions.count <= Self.maxOmissions else { return }
            guard omissions.count < Self.maxOmissions else {
                return omissions.append("lacks more Ogg streams, which are damaged, too")
            }
            let reason = error.message.dropFirst(name.count + 2)
            omissions.append("lacks the Ogg stream that begins at byte \(offset), which is left out: \(reason)")
        }

        /// Whether an error in a link skips the link: it is damaged, or has no sound.
        private static func skipsLink(_ error: LyraError) -> Bool { [.format, .missing].contains(error.code) }

        private func link(_ start: Int64, _ end: Int64?) -> Opener {
            Opener(
                body: ReaderView(body, from: start, to: end), name: name, limits: limits, interrupted: interrupted)
        }

        private func nextLink(after start: Int64) throws -> Int64? {
            try OggPages.nextLink(in: body, after: start, name: name) {
                if interrupted() { throw LyraError(.state, "\(name): interrupted") }
            }
        }
    }
}
