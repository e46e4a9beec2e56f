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
        abstract: "Synthesizes the speech units of a data file's examples.",
        discussion: """
            A vocoder synthesizes the units of each example, as it does in answers: runs of the same unit count once, \
            and the vocoder decides how long each lasts. The manifest names the recordings and the answers' texts, as \
            'lyra eval wer' reads them, which measures how well they are understood.

              lyra data units decode --vocoder model_zoo/audio/vocoder --data units.jsonl \\
                  --folder recordings -o manifest.jsonl
            """)

    @Option(help: ArgumentHelp("The vocoder's file, or its directory.", valueName: "path"))
    var vocoder: String

    @Option(help: ArgumentHelp("A data file with tgt_unit.", valueName: "file"))
    var data: String

    @Option(
        help: ArgumentHelp(
            "The folder for the recordings, which is made: 1.wav for the first example, and so on.", valueName: "dir"))
    var folder: String

    @Option(parsing: .unconditional, help: ModelArguments.threadsHelp)
    var threads: Int?

    @OptionGroup var out: DataOutputArguments

    func validate() throws {
        if let threads, threads < 1 { throw ValidationError("--threads must be at least 1") }
    }

    func run() throws {
        Interrupt.watch()
        lk_set_threads(Int32(clamping: threads ?? 0))
        let progress = DataProgress()
        defer { progress.clear() }
        let vocoder = try LonePart.openVocoder(vocoder)
        let items = try IndexedDataset(path: data, check: progress.check)
        var directories = NewDirectories()
        do {
            try directories.make(folder)
            try write(items, vocoder, progress)
        } catch {
            directories.remove()
            throw error
        }
    }

    private func write(_ items: IndexedDataset, _ vocoder: Vocoder, _ progress: DataProgress) throws {
        let writer = try ExampleWriter(path: out.output)
        let paths = try MediaPaths(root: FileSystem.parent(of: out.output))
        var bad = BadExamples(allowing: out.badShare, of: items.count) { progress.note("left out: " + $0) }
        var (samples, without) = (0, 0)
        for index in 0..<items.count {
            try progress.show("recordings", index, items.count)
            do {
                let item = try items.item(at: index)
                guard let units = item.units, !units.isEmpty, let answer = item.answer else {
                    without += 1
                    continue
                }
                let stream = VocoderStream(vocoder)
                do { try stream.append(UnitText.reduced(units)) } catch let error as LyraError
                    where error.code == .argument
                { throw LyraError(.format, "\(item.place): \(error.message)") }
                let file = FileSystem.join(folder, "\(index + 1).wav")
                samples += try synthesize(stream, to: file, rate: vocoder.sampleRate, check: progress.check)
                let line = JSONValue.object([("audio", .string(try paths.stated(file))), ("text", .string(answer))])
                try writer.append(line.text.utf8)
            } catch let error as LyraError where error.code == .format {
                try bad.add(error.message)
            }
        }
        guard writer.count > 0 else {
            throw LyraError(.missing, "\(data): no answer has units (\(UnitData.unitKey)); 'encode' writes them")
        }
        try writer.finish()
        progress.clear()
        var message =
            "wrote \(out.output): \(counted(writer.count, "recording")), "
            + duration(Double(samples) / Double(vocoder.sampleRate))
        if without > 0 { message += "; \(counted(without, "example")) without units" }
        if bad.count > 0 { message += "; left out: \(counted(bad.count, "example")) damaged" }
        printError(message)
    }

    /// Writes the waveform of a stream's units. → the number of samples
    private func synthesize(_ stream: VocoderStream, to file: String, rate: Int, check: () throws -> Void) throws -> Int
    {
        stream.finish()
        let writer = try WaveWriter(path: file)
        let made = GrowingBuffer<Float>()
        while stream.hasWork {
            try check()
            made.removeAll()
            try stream.produce(into: made)
            try writer.append(Array(made.elements))
        }
        try writer.finish(sampleRate: rate)
        return writer.samples
    }
}
