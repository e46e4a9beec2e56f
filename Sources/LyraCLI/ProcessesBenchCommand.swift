import ArgumentParser
import Lyra
import LyraBase
import LyraTraining

struct ProcessesBenchCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "processes",
        abstract: "Checks and measures how processes sum gradients in training.",
        discussion: """
            Start several processes with MPI, as for training:

              mpirun -n 2 lyra bench processes

            Open MPI and libraries with MPICH's interface are found when they are installed; mpirun must be that of the \
            library.
            """)

    @Option(parsing: .unconditional, help: ArgumentHelp("Size of all gradients.", valueName: "n"))
    var megabytes = 64

    @Option(parsing: .unconditional, help: ArgumentHelp("Measurements, of which the median counts.", valueName: "n"))
    var repetitions = 3

    @Flag(help: "Use MPI although no launcher is found in the environment.")
    var mpi = false

    @Flag(help: "Print one JSON object instead of a sentence.")
    var json = false

    func validate() throws {
        for (name, value) in [("--megabytes", megabytes), ("--repetitions", repetitions)]
        where value < 1 || value > 1 << 24 {
            throw ValidationError("\(name) must be in 1…\(1 << 24)")
        }
    }

    func run() throws {
        let group = try MPILaunch().group(requiresMPI: mpi)
        guard let processes = group as? MPIGroup else {
            throw LyraError(.argument, "there is one process; start several: mpirun -n 2 lyra bench processes")
        }
        try processes.endingAllOnError {
            let benchmark = try ExchangeBenchmark(processes, bytes: megabytes << 20)
            let times = try (0..<repetitions).map { _ in try benchmark.run() }.sorted()
            if processes.isMain { try printReport(processes, seconds: times[times.count / 2]) }
            try processes.leave()
        }
    }

    private func printReport(_ group: MPIGroup, seconds: Double) throws {
        let rate = Double(megabytes) / max(seconds, 1e-9)
        let report = JSONValue.object([
            ("processes", .number(Double(group.count))), ("library", .string(group.library)),
            ("megabytes", .number(Double(megabytes))), ("seconds", .number(seconds)),
            ("megabytes_per_second", .number(rate)),
        ])
        let sentence =
            "\(group.count) processes (\(group.library)) sum \(megabytes) MB of gradients in "
            + "\(Int((seconds * 1000).rounded())) ms: \(Int(rate.rounded())) MB/s"
        try printOutput((json ? report.text : sentence) + "\n")
    }
}
