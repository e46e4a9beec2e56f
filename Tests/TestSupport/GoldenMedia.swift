import LyraMedia

/// The images and sounds of the golden cases, derived from one image and one recording.
extension GoldenFixture {
    private func picture(_ bytes: [UInt8], width: Int, height: Int) throws -> RGBImage {
        try bytes.withUnsafeBytes { try RGBImage(copying: $0, width: width, height: height, stride: width * 3) }
    }

    /// 150 × 90 pixels.
    private var smallPixels: [UInt8] {
        get throws {
            let stored = try stored("image_small", "in.rgb")
            guard stored.shape == [90, 150, 3] else { throw FixtureError("image_small has shape \(stored.shape)") }
            return Array(stored.bytes)
        }
    }

    package func image(_ name: String) throws -> RGBImage {
        let all = try smallPixels
        func row(_ y: Int, _ width: Int) -> ArraySlice<UInt8> { all[y * 450..<y * 450 + width * 3] }
        switch name {
        case "image_tall":
            return try picture((0..<4).flatMap { _ in (0..<90).flatMap { row($0, 60) } }, width: 60, height: 360)
        case "image_tiny": return try picture((0..<10).flatMap { row($0, 12) }, width: 12, height: 10)
        default: return try picture(all, width: 150, height: 90)
        }
    }

    /// Six frames that move to the right by 7 pixels each.
    package func videoFrames() throws -> [RGBImage] {
        let all = try smallPixels
        return try (0..<6).map { index in
            let moved = (0..<90).flatMap { y -> [UInt8] in
                let line = all[y * 450..<(y + 1) * 450], shift = index * 21
                return Array(line.suffix(shift) + line.dropLast(shift))
            }
            return try picture(moved, width: 150, height: 90)
        }
    }

    package func sound(_ name: String) throws -> [Float] {
        let all = try stored("speech_short", "in.pcm").floats()
        return name == "sound_click" ? Array(all[3000..<23_000]) : all
    }
}
