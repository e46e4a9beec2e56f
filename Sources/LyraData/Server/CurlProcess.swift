import CFiles
import Glibc
import LyraBase

/// One HTTP request, made by the program `curl`: it knows TLS, proxies and certificates.
///
/// The request reaches curl in two nameless files, so that neither the key nor the text is visible in the list of
/// processes: the configuration as its standard input, the body as descriptor 3. (A line of a configuration may have
/// 100 KB at most.)
final class CurlProcess {
    /// Number of the request, for the caller.
    let request: Int
    /// What curl writes; readable without waiting once `poll` says so.
    let output: Int32
    private var pid: pid_t
    private var received: [UInt8] = []
    private var isTooLong = false

    /// The longest reply that is read, in bytes.
    private static let replyLimit = 16 << 20

    /// How the configuration names the body.
    static let body = "/dev/fd/3"
    private static let bodyDescriptor: Int32 = 3

    /// - Parameters:
    ///   - configuration: lines for curl's option `--config`
    ///   - body: of the request
    /// - Throws: `LyraError.missing` if curl is not installed, `.io` if it cannot be started.
    init(request: Int, configuration: String, body: String) throws {
        self.request = request
        let input = try Self.namelessFile(configuration)
        defer { close(input) }
        let content = try Self.namelessFile(body)
        defer { close(content) }
        var ends: [Int32] = [-1, -1]
        guard pipe2(&ends, O_CLOEXEC) == 0 else { throw LyraError(.io, "curl: no pipe to it: \(systemMessage())") }
        defer { close(ends[1]) }
        var child = pid_t()
        let code = Self.spawn(&child, input: input, body: content, output: ends[1])
        guard code == 0 else {
            close(ends[0])
            guard code != ENOENT else {
                throw LyraError(.missing, "the program curl is needed to reach a server; install it (Debian: curl)")
            }
            throw LyraError(.io, "the program curl cannot be started: \(systemMessage(code))")
        }
        (pid, output) = (child, ends[0])
    }

    deinit {
        close(output)
        if pid > 0 {
            kill(pid, SIGTERM)
            waitpid(pid, nil, 0)
        }
    }

    private static func namelessFile(_ text: String) throws -> Int32 {
        let file = memfd_create("lyra", 1)  // MFD_CLOEXEC
        guard file >= 0 else { throw LyraError(.io, "curl: no memory for its input: \(systemMessage())") }
        let bytes = Array(text.utf8)
        var done = 0
        while done < bytes.count {
            let count = bytes.withUnsafeBytes { write(file, $0.baseAddress.map { $0 + done }, bytes.count - done) }
            guard count > 0 || count < 0 && errno == EINTR else {
                let reason = systemMessage()
                close(file)
                throw LyraError(.io, "curl: its input cannot be written: \(reason)")
            }
            done += max(count, 0)
        }
        lseek(file, 0, SEEK_SET)
        return file
    }

    /// → 0, or an errno
    private static func spawn(_ pid: inout pid_t, input: Int32, body: Int32, output: Int32) -> Int32 {
        var actions = posix_spawn_file_actions_t(), attributes = posix_spawnattr_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawnattr_init(&attributes)
        defer {
            posix_spawn_file_actions_destroy(&actions)
            posix_spawnattr_destroy(&attributes)
        }
        posix_spawn_file_actions_adddup2(&actions, input, STDIN_FILENO)
        posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO)
        posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0)
        // Last, because descriptor 3 can be one of the others.
        posix_spawn_file_actions_adddup2(&actions, body, bodyDescriptor)
        // The tool ignores these signals; curl should not.
        var signals = sigset_t()
        sigemptyset(&signals)
        for signal in [SIGPIPE, SIGXFSZ] { sigaddset(&signals, signal) }
        posix_spawnattr_setsigdefault(&attributes, &signals)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGDEF))
        // -q: the user's .curlrc could change what curl writes.
        let words = ["curl", "-q", "--config", "-"]
        let arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for argument in arguments { free(argument) } }
        return posix_spawnp(&pid, "curl", &actions, &attributes, arguments, lyra_environment())
    }

    /// Reads what is there. → whether curl has ended
    func read() -> Bool {
        var buffer = [UInt8](repeating: 0, count: 1 << 16)
        let count = Glibc.read(output, &buffer, buffer.count)
        if count > 0 {
            received += buffer[..<count]
            isTooLong = received.count > Self.replyLimit
            return isTooLong
        }
        return count == 0 || errno != EINTR && errno != EAGAIN
    }

    /// The server's reply, once `read` has said that curl has ended.
    func reply() -> HTTPReply {
        if isTooLong { kill(pid, SIGTERM) }
        while waitpid(pid, nil, 0) < 0, errno == EINTR {}
        pid = 0
        return isTooLong
            ? HTTPReply(failure: "a reply longer than \(Self.replyLimit) bytes") : HTTPReply(curlOutput: received)
    }
}

/// A server's reply, or why there is none.
struct HTTPReply {
    var status = 0
    var body: [UInt8] = []
    /// Why curl got no complete reply; nil if it did.
    var failure: String?
    /// Whether the server's name is unknown, or nothing accepts a connection there.
    var isUnreachable = false
    /// How long the server asks to wait, in seconds.
    var retryAfter: Double?

    /// curl's format of the line after the body.
    static let trailer = "\\n%{http_code}\\t%{exitcode}\\t%header{retry-after}\\t%{errormsg}"

    init(failure: String) { self.failure = failure }

    init(curlOutput: [UInt8]) {
        let end = curlOutput.lastIndex(of: UInt8(ascii: "\n")) ?? curlOutput.startIndex
        let fields = curlOutput[end...].dropFirst().split(
            separator: UInt8(ascii: "\t"), maxSplits: 3, omittingEmptySubsequences: false
        ).map { String(decoding: $0, as: UTF8.self) }
        guard fields.count == 4, let status = Int(fields[0]), let code = Int(fields[1]) else {
            failure = "curl was ended by a signal"
            return
        }
        self.status = status
        body = Array(curlOutput[..<end])
        if let seconds = Double(fields[2]), seconds.isFinite, seconds >= 0 { retryAfter = seconds }
        guard code != 0 else { return }
        failure = fields[3].isEmpty ? "curl's error \(code)" : fields[3]
        // CURLE_COULDNT_RESOLVE_PROXY, …_HOST and CURLE_COULDNT_CONNECT.
        isUnreachable = [5, 6, 7].contains(code)
    }
}
