import FuzzSupport
import Lyra
import LyraFormats

/// The input is a saved state and a byte of options. Restores the state into a session, and continues the conversation
/// if that succeeds. First corrects the checksum, and the header's length if mutation inserted or removed a few bytes.
@_cdecl("LLVMFuzzerTestOneInput")
public func testOneInput(_ start: UnsafePointer<UInt8>?, _ count: Int) -> Int32 {
    var bytes = [UInt8](FuzzInput(start, count).bytes)
    guard let choices = bytes.popLast() else { return 0 }
    repair(&bytes)
    bytes.withUnsafeBufferPointer { bytes in
        FuzzInput(bytes.baseAddress, bytes.count).withFile { path in
            do { try restore(path, choices) } catch let error as LyraError {
                guard error.code != .argument || error.message.contains("another model") else {
                    fatalError("a damaged state is an error of arguments: \(error)")
                }
            } catch {
                fatalError("not a LyraError: \(error)")
            }
        }
    }
    return 0
}

private func restore(_ path: String, _ choices: UInt8) throws {
    var options = SessionOptions()
    (options.sampling, options.seed, options.maxNewTokens) = (.random, 1, 3)
    if choices & 1 != 0 { options.maxContextTokens = 64 }
    if choices & 2 != 0 { options.maxMemoryBytes = 1 << 18 }
    if choices & 4 != 0 { options.adapter = .named("speech") }
    options.speaks = choices & 8 != 0
    let session = try Session(fuzzModel, options: options)
    do { try session.restore(from: path) } catch {
        guard session.usage.cacheBytes == 0 else { fatalError("a state that was refused has changed the session") }
        throw error
    }
    use(session.media)
    try session.feed(text: "And?")
    try session.endTurn()
    for _ in 0..<200 where try session.step().contains(.end) { return }
    fatalError("a restored session does not end its turn")
}

private let fixed = 20

private func repair(_ bytes: inout [UInt8]) {
    guard bytes.count > fixed + 4 else { return }
    let end = bytes.count - 4
    let size = bytes[12..<fixed].reversed().reduce(UInt64(0)) { $0 << 8 | UInt64($1) }
    if size < 1 << 20, case let claimed = fixed + Int(size), claimed > end || bytes[claimed - 1] != UInt8(ascii: "}") {
        let near = max(fixed, min(claimed, end) - 64)..<min(end, max(claimed, fixed) + 64)
        if !near.isEmpty, let last = bytes[near].lastIndex(of: UInt8(ascii: "}")) {
            for index in 0..<8 { bytes[12 + index] = UInt8(truncatingIfNeeded: (last + 1 - fixed) >> (8 * index)) }
        }
    }
    let sum = bytes[..<end].withUnsafeBytes { CRC32.checksum($0) }
    for index in 0..<4 { bytes[end + index] = UInt8(truncatingIfNeeded: sum >> (8 * UInt32(index))) }
}
