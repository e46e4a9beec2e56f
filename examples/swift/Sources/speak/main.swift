// Asks a model about a recording: text streams to stdout, speech goes to a file of raw 32-bit floats.
//
//     swift run speak [--model MODEL] RECORDING SPEECH.f32 [QUESTION]
//
// The model is lyra:nano, if lyra was built with it, unless another is named. Without a question, the recording is it.
import Lyra

#if canImport(Glibc)
    import Glibc
#endif

func speak(_ path: String, recording: String, speech file: String, question: String?) async throws {
    let model = try Model(path: path)
    var options = SessionOptions()
    options.speaks = model.speaks
    options.maxNewTokens = 64
    let session = try Session(model, options: options)

    try session.feed(.speech(.file(recording)))
    if let question { try session.feed(text: question) }

    var speech: [Float] = []
    for try await event in try session.answer() {
        switch event {
        case .text(let text): print(text, terminator: "")
        case .audio(let samples): speech += samples
        case .progress: break
        case .end(let usage): print("\n(\(usage.generatedTokens) tokens, \(usage.stop))")
        }
    }
    guard let output = fopen(file, "wb") else { throw LyraError(.io, "\(file): cannot be written") }
    let written = fwrite(speech, MemoryLayout<Float>.stride, speech.count, output)
    guard fclose(output) == 0, written == speech.count else { throw LyraError(.io, "\(file): cannot be written") }
    print("\(speech.count) samples of speech at \(model.audioSampleRate ?? 0) Hz are in \(file)")
}

var arguments = Array(CommandLine.arguments.dropFirst()), path = "lyra:nano"
if let place = arguments.firstIndex(of: "--model"), place + 1 < arguments.count {
    path = arguments[place + 1]
    arguments.removeSubrange(place...place + 1)
}
guard (2...3).contains(arguments.count), !arguments.contains(where: { $0.hasPrefix("--") }) else {
    print("usage: speak [--model MODEL] RECORDING SPEECH.f32 [QUESTION]")
    exit(64)
}
do {
    try await speak(
        path, recording: arguments[0], speech: arguments[1], question: arguments.count > 2 ? arguments[2] : nil)
} catch {
    print("speak: \(error)")
    exit(1)
}
