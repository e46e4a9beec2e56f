import Glibc
import LyraBase

/// Makes requests to a server, some at the same time, and makes them again if they fail.
struct RequestQueue {
    private let server: ChatServer
    private let prompts: [ChatServer.Prompt]
    private var running: [CurlProcess] = []
    /// Failures of each request.
    private var failures: [Int]
    /// Requests to make, and when; in the order of time.
    private var waiting: [(time: Double, request: Int)]
    private var nextStart = 0.0

    /// How long to wait for replies before looking for an interruption, in milliseconds.
    private static let pollTime: Int32 = 50

    init(_ server: ChatServer, _ prompts: [ChatServer.Prompt]) {
        (self.server, self.prompts) = (server, prompts)
        failures = Array(repeating: 0, count: prompts.count)
        waiting = prompts.indices.map { (0, $0) }
    }

    /// What becomes of a request.
    enum Outcome {
        case answered(String)
        /// It failed too often, or the server refuses it.
        case failed(String)
    }

    /// Makes all requests.
    ///
    /// - Parameters:
    ///   - check: called often; throws to stop
    ///   - accept: receives the text of an answer. → why the answer cannot be used, and the request is made again; nil
    ///     if it can
    ///   - fail: receives the reason for a request that has no answer in the end
    /// - Throws: `LyraError.missing` without curl, or if the server cannot be reached; `.argument` if it refuses the
    ///   key, the address or the model; any error of the closures.
    mutating func run(
        check: () throws -> Void, accept: (_ request: Int, _ content: String) throws -> String?,
        fail: (_ request: Int, _ reason: String) throws -> Void
    ) throws {
        while !running.isEmpty || !waiting.isEmpty {
            try check()
            try start()
            for process in awaitOutput() where process.read() {
                running.removeAll { $0 === process }
                try finish(process.request, process.reply(), accept, fail)
            }
        }
    }

    private mutating func start() throws {
        var now = MonotonicTime.seconds
        while running.count < server.parallel, let next = waiting.first, max(next.time, nextStart) <= now {
            waiting.removeFirst()
            running.append(
                try CurlProcess(
                    request: next.request, configuration: server.configuration,
                    body: server.body(prompts[next.request])))
            if let rate = server.requestsPerMinute { nextStart = now + 60 / rate }
            now = MonotonicTime.seconds
        }
    }

    /// Waits a moment. → the processes that have written something or ended
    private func awaitOutput() -> [CurlProcess] {
        var descriptors = running.map { pollfd(fd: $0.output, events: Int16(POLLIN), revents: 0) }
        guard poll(&descriptors, nfds_t(descriptors.count), Self.pollTime) > 0 else { return [] }
        return zip(running, descriptors).filter { $0.1.revents != 0 }.map(\.0)
    }

    private mutating func finish(
        _ request: Int, _ reply: HTTPReply, _ accept: (Int, String) throws -> String?,
        _ fail: (Int, String) throws -> Void
    ) throws {
        let reason: String
        switch reply.status {
        case _ where reply.failure != nil: reason = reply.failure ?? ""
        case 200..<300:
            do {
                guard let problem = try accept(request, ChatServer.content(of: reply.body)) else { return }
                reason = problem
            } catch let error as LyraError where error.code == .format {
                reason = error.message
            }
        case 408, 409, 425, 429, 500...599: reason = "status \(reply.status)\(Self.excerpt(reply.body))"
        case 300..<400, 401, 403, 404, 405:
            throw LyraError(
                .argument,
                "\(server.endpoint): the server refuses requests with status \(reply.status); check the address, the "
                    + "model and the key\(Self.excerpt(reply.body))")
        default: return try fail(request, "status \(reply.status)\(Self.excerpt(reply.body))")
        }
        failures[request] += 1
        guard failures[request] > server.retries else {
            let delay = server.delay(request: request, attempt: failures[request], asked: reply.retryAfter)
            let time = MonotonicTime.seconds + delay
            let place = waiting.firstIndex { $0.time > time } ?? waiting.endIndex
            return waiting.insert((time, request), at: place)
        }
        guard !reply.isUnreachable else {
            throw LyraError(.missing, "\(server.endpoint): cannot be reached: \(reason)")
        }
        try fail(request, reason)
    }

    /// The beginning of what the server wrote.
    private static func excerpt(_ body: [UInt8]) -> String {
        body.isEmpty ? "" : ": " + shown(String(decoding: body.prefix(400), as: UTF8.self), limit: 200)
    }
}
