import LyraBase

/// A server with OpenAI's interface for chats (POST …/chat/completions), such as llama.cpp's, vLLM's or OpenAI's own.
package struct ChatServer: Sendable {
    package var endpoint: String
    package var model: String
    /// Sent as a bearer token; nil to send none.
    package var key: String?
    /// For one reply, in seconds.
    package var timeout = 120.0
    /// How often a request is made again after it failed.
    package var retries = 5
    /// The wait before the first retry, in seconds; it doubles each time, up to a minute.
    package var retryDelay = 1.0
    /// Requests at the same time.
    package var parallel = 1
    /// Most requests in a minute; nil for no limit.
    package var requestsPerMinute: Double?

    static let longestDelay = 60.0

    /// - Parameter url: the part before /chat/completions, such as http://localhost:8080/v1
    /// - Throws: `LyraError.argument` if it is not an address of HTTP, or the key contains control characters.
    package init(url: String, model: String, key: String?) throws {
        let isAddress = ["http://", "https://"].contains { url.lowercased().hasPrefix($0) }
        guard isAddress, !url.unicodeScalars.contains(where: { $0.value <= 0x20 || $0.value == 0x7F }) else {
            throw LyraError(.argument, "\(shown(url)) is not an address that begins with http:// or https://")
        }
        if let key, key.unicodeScalars.contains(where: { $0.value < 0x20 || $0.value == 0x7F }) {
            throw LyraError(.argument, "the server's key contains a control character, perhaps a line break")
        }
        var base = url
        while base.utf8.last == UInt8(ascii: "/") { base.unicodeScalars.removeLast() }
        endpoint = base.hasSuffix("/chat/completions") ? base : base + "/chat/completions"
        (self.model, self.key) = (model, key)
    }

    /// A request: instructions for the model, and the user's message.
    package struct Prompt: Sendable {
        package var system: String
        package var user: String
    }

    func body(_ prompt: Prompt) -> String {
        func message(_ role: String, _ content: String) -> JSONValue {
            .object([("role", .string(role)), ("content", .string(content))])
        }
        let messages = [message("system", prompt.system), message("user", prompt.user)]
        return JSONValue.object([
            ("model", .string(model)), ("messages", .array(messages)), ("stream", .bool(false)),
        ]).text
    }

    /// The lines of a configuration file for curl.
    var configuration: String {
        // In quotes, curl reads \\ and \" as the second character (curl's manual, --config).
        func quoted(_ text: String) -> String {
            var result = "\""
            for scalar in text.unicodeScalars {
                if scalar == "\"" || scalar == "\\" { result += "\\" }
                result.unicodeScalars.append(scalar)
            }
            return result + "\""
        }
        var lines = [
            "url = \(quoted(endpoint))", "header = \"Content-Type: application/json\"",
            "data-binary = \"@\(CurlProcess.body)\"", "max-time = \(timeout)", "connect-timeout = \(min(timeout, 30))",
            "silent", "globoff", "proto = \"=http,https\"", "write-out = \"\(HTTPReply.trailer)\"",
        ]
        if let key { lines.append("header = \(quoted("Authorization: Bearer " + key))") }
        return lines.joined(separator: "\n") + "\n"
    }

    /// The text of the model's answer in a reply.
    ///
    /// - Throws: `LyraError.format` if it is not the JSON of such a server.
    static func content(of body: [UInt8]) throws -> String {
        let reply = try body.withUnsafeBytes { try JSONValue($0, source: "the server's reply") }
        guard let content = reply["choices"]?.elements?.first?["message"]?["content"]?.string else {
            throw LyraError(.format, "the server's reply has no choices[0].message.content")
        }
        return content
    }

    /// Wait before a retry, in seconds: longer each time, and different for each request, so that requests that failed
    /// together are not made together again.
    func delay(request: Int, attempt: Int, asked: Double?) -> Double {
        var random = SplitMix64(seed: stableHash("\(request) \(attempt)"))
        var delay = retryDelay
        for _ in 1..<max(attempt, 1) where delay < Self.longestDelay { delay *= 2 }
        let spread = min(delay, Self.longestDelay) * (0.5 + 0.5 * random.nextUnit())
        return max(spread, min(asked ?? 0, 10 * Self.longestDelay))
    }
}
