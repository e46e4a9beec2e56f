// Asks a model about a recording: text streams to stdout, speech goes to a file of raw 32-bit floats.
//
//     swift run speak MODEL RECORDING [QUESTION] [SPEECH.f32]
import Lyra

#if canImport(Glibc)
    import Glibc
#endif

func speak(_ arguments: [String]) async throws {
    let model = try Model(path: arguments[1])
    var options = SessionOptions()
    options.speaks = model.speaks
    options.maxNewTokens = 64
    let session = try Session(model, options: options)

    try session.feed(.speech(.file(arguments[2])))
    if arguments.count > 3 { try session.feed(text: arguments[3]) }

    var speech: [Float] = []
    for try await event in try session.answer() {
        switch event {
        case .text(let text): print(text, terminator: "")
        case .audio(let samples): speech += samples
        case .progress: break
        case .end(let usage): print("\n(\(usage.generatedTokens) tokens, \(usage.stop))")
        }
    }
    if arguments.count > 4, let file = fopen(arguments[4], "wb") {
        let written = fwrite(speech, MemoryLayout<Float>.stride, speech.count, file)
        guard fclose(file) == 0, written == speech.count else {
            throw LyraError(.io, "\(arguments[4]): cannot be written")
        }
        print("\(speech.count) samples of speech at \(model.audioSampleRate ?? 0) Hz are in \(arguments[4])")
    }
}

guard CommandLine.arguments.count > 2 else {
    print("usage: speak MODEL RECORDING [QUESTION] [SPEECH.f32]")
    exit(64)
}
do {
    try await speak(CommandLine.arguments)
} catch {
    print("speak: \(error)")
    exit(1)
}
