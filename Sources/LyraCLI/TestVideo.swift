import Glibc

/// Ten seconds of a moving test picture, 1080p H.264, made with the ffmpeg command in a temporary file.
struct TestVideo {
    let path: String

    /// Nil if there is no such command, or it fails.
    static func make() -> TestVideo? {
        let folder = getenv("TMPDIR").map { String(cString: $0) } ?? "/tmp", suffix = ".mp4"
        // mkstemps writes something of its own over the last six before the suffix.
        var template = Array((folder + "/lyra-bench-" + String(repeating: "X", count: 6) + suffix).utf8CString)
        let descriptor = mkstemps(&template, Int32(suffix.utf8.count))
        guard descriptor >= 0 else { return nil }
        close(descriptor)
        let video = TestVideo(path: String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self))
        let arguments = [
            "ffmpeg", "-v", "quiet", "-nostdin", "-y", "-f", "lavfi", "-i",
            "testsrc2=duration=10:size=1920x1080:rate=30", "-c:v", "libx264", "-preset", "veryfast", "-pix_fmt",
            "yuv420p", video.path,
        ]
        guard run(arguments) else {
            video.remove()
            return nil
        }
        return video
    }

    func remove() { unlink(path) }

    /// Whether the command could be run and ended well.
    private static func run(_ arguments: [String]) -> Bool {
        var pointers = arguments.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var child: pid_t = 0, status: Int32 = 0
        guard posix_spawnp(&child, "ffmpeg", nil, nil, &pointers, environ) == 0 else { return false }
        while waitpid(child, &status, 0) < 0 { guard errno == EINTR else { return false } }
        return status == 0
    }
}
