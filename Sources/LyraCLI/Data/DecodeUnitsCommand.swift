import ArgumentParser
import CKernels
import LyraBase
import LyraData
import LyraDatasets
import LyraFormats
import LyraModel
import LyraTools

struct DecodeUnitsCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "decode",
        abstract: "Makes recordings of the speech units in a data file.",
        discussion: """
            A vocoder says the units of each example, as it does in answers: runs of the same unit count once, and the \
            vocoder decides how long each lasts. The manifest names the recordings and the answers' texts, as \
            'lyra eval wer' reads them, which measures how well they are understood.

              lyra data units decode --vocoder model_zoo/audio/vocoder --data units.jsonl \\
                  --folder said -o said.jsonl
            """)

    @Option(help: ArgumentHelp("The vocoder's file, or its directory.", valueName: "path"))
    var vocoder: String

    @Option(help: ArgumentHelp("A data file with tgt_unit.", valueName: "file"))
    var data: String

    @Option(help: ArgumentHelp("The folder for the recordings, which is made: 1.wav and so on.", valueName: "dir"))
    var folder: String

    @Option(
        name: [.short, .customLong("output")],
        help: ArgumentHelp("The manifest: a line for each recording.", valueName: "file"))
    var output: String

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    func validate() throws {
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
    }

    func run() throws {
        Interrupt.watch()
        lk_set_threads(Int32(clamping: threads ?? 0))
        let progress = DataProgress()
        defer { progress.clear() }
        let vocoder = try LonePart.openVocoder(LonePart.vocoder(self.vocoder))
        let items = try IndexedDataset(path: data, check: progress.check)
        var directories = NewDirectories()
        try directories.make(folder)
        let writer = try ExampleWriter(path: output)
        let paths = try MediaPaths(root: FileSystem.parent(of: output))
        var (samples, without) = (0, 0)
        for index in 0..<items.count {
            try progress.show("recordings", index, items.count)
            let item = try items.item(at: index)
            guard let units = item.units, !units.isEmpty else {
                without += 1
                continue
            }
            let file = FileSystem.join(folder, "\(index + 1).wav")
            samples += try say(UnitText.reduced(units), vocoder, item.place, to: file, check: progress.check)
            let line = JSONValue.object([
                ("audio", .string(try paths.stated(file))), ("text", .string(item.turns.last?.text ?? "")),
            ])
            try writer.append(line.text.utf8)
        }
        guard writer.count > 0 else {
            throw LyraError(.missing, "\(data): no example has units (\(UnitData.unitKey)); 'encode' writes them")
        }
        try writer.finish()
        progress.clear()
        let left = without > 0 ? "; left out: \(counted(without, "example")) without units" : ""
        printError(
            "wrote \(output): \(counted(writer.count, "recording")), "
                + duration(Double(samples) / Double(vocoder.sampleRate)) + left)
    }

    /// Writes what the vocoder says. → the number of samples
    private func say(
        _ units: [Int32], _ vocoder: Vocoder, _ place: String, to file: String, check: () throws -> Void
    ) throws -> Int {
        let stream = VocoderStream(vocoder)
        do { try stream.append(units) } catch let error as LyraError where error.code == .argument {
            throw LyraError(.argument, "\(place): \(error.message)")
        }
        stream.finish()
        let writer = try WaveWriter(path: file)
        let made = GrowingBuffer<Float>()
        while stream.hasWork {
            try check()
            made.removeAll()
            try stream.produce(into: made)
            try writer.append(Array(made.elements))
        }
        try writer.finish(sampleRate: vocoder.sampleRate)
        return writer.samples
    }
}
