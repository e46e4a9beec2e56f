import Glibc
import Lyra

/// Ten seconds of a moving test pattern, 1080p H.264, made with the ffmpeg command in a temporary file.
struct TestVideo {
    let path: String

    /// Nil if the command does not exist or fails.
    static func make() -> TestVideo? {
        let folder = getenv("TMPDIR").map { SystemPath.string(cString: $0) } ?? "/tmp", suffix = ".mp4"
        // mkstemps replaces the six X before the suffix.
        var template = SystemPath.bytes(folder + "/lyra-bench-" + String(repeating: "X", count: 6) + suffix) + [0]
        let descriptor = template.withUnsafeMutableBytes { bytes in
            bytes.withMemoryRebound(to: CChar.self) { name in
                name.baseAddress.map { mkstemps($0, Int32(suffix.utf8.count)) } ?? -1
            }
        }
        guard descriptor >= 0 else { return nil }
        close(descriptor)
        let video = TestVideo(path: SystemPath.string(template.dropLast()))
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

    func remove() { withSystemPath(path) { _ = unlink($0) } }

    /// Whether the command ran and succeeded.
    private static func run(_ arguments: [String]) -> Bool {
        var pointers = arguments.map { withSystemPath($0, strdup) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var child: pid_t = 0, status: Int32 = 0
        guard posix_spawnp(&child, "ffmpeg", nil, nil, &pointers, environ) == 0 else { return false }
        while waitpid(child, &status, 0) < 0 { guard errno == EINTR else { return false } }
        return status == 0
    }
}
