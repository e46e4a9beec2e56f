import CLoading
import CMPI
import Glibc
import LyraBase
import Synchronization

/// The processes that `mpirun` started, over Open MPI or a library with MPICH's ABI, which is loaded for this.
///
/// One thread makes all calls of MPI, so that any library can do it, and so that sums advance while other threads
/// compute: MPI_Iallreduce advances only inside of MPI's functions. Before a sum the thread waits, mostly asleep, until
/// all processes are ready for it: MPI_Allreduce itself waits busily and would take time from the computing threads.
public final class MPIGroup: ProcessGroup, @unchecked Sendable {
    public let rank: Int
    public let count: Int
    /// Name and version of the library.
    public let library: String
    private let calls: Calls

    /// Loads the library and joins the other processes.
    ///
    /// - Throws: `LyraError.missing` if no library is installed, with the package's name; `.io` if the processes do not
    ///   find each other; `.memory` if there is no room for the library or a thread.
    public init(_ launch: MPILaunch) throws {
        try Self.load(isMPICH: launch.isMPICH)
        library = Self.text { lyra_mpi_version($0, $1) }
        calls = Calls(thread: try SerialThread())
        var (rank, count): (Int32, Int32) = (0, 0)
        try calls.perform { lyra_mpi_init(&rank, &count) }
        (self.rank, self.count) = (Int(rank), Int(count))
        if let started = launch.count, started != count {
            throw LyraError(
                .io,
                "\(started) processes were started, but \(library) finds \(count); start lyra with the mpirun of that "
                    + "library")
        }
    }

    private static func load(isMPICH: Bool) throws {
        var status = Int32(LYRA_LOADED)
        let reason = text { status = lyra_mpi_load(isMPICH ? 1 : 0, $0, $1) }
        switch Int(status) {
        case LYRA_LOADED: return
        case LYRA_LOAD_MEMORY: throw LyraError(.memory, "MPI: \(reason)")
        case LYRA_LOAD_IO: throw LyraError(.io, "MPI: \(reason)")
        default: throw LyraError(.missing, "MPI: \(reason)")
        }
    }

    /// A text that a C function writes.
    fileprivate static func text(_ write: (UnsafeMutablePointer<CChar>, Int) -> Void) -> String {
        withUnsafeTemporaryAllocation(of: CChar.self, capacity: 1024) { buffer in
            buffer.initialize(repeating: 0)
            guard let base = buffer.baseAddress else { return "" }
            write(base, buffer.count)
            return String(cString: base)
        }
    }

    public func sum(_ values: [Double]) throws -> [Double] { try combined(values, lyra_mpi_sum_doubles) }

    public func maximum(_ values: [Double]) throws -> [Double] { try combined(values, lyra_mpi_max_doubles) }

    private func combined(
        _ values: [Double], _ reduce: @escaping (UnsafeMutablePointer<Double>?, Int) -> Int32
    ) throws -> [Double] {
        var result = values
        try calls.performTogether { result.withUnsafeMutableBufferPointer { reduce($0.baseAddress, $0.count) } }
        return result
    }

    public func begin(sum bucket: GradientBucket) {
        calls.postTogether { lyra_mpi_sum_floats(bucket.values.base, bucket.values.count) }
    }

    public func finishAll() throws { try calls.finishAll() }

    public func barrier() throws { try calls.performTogether { 0 } }

    public func leave() throws {
        try calls.perform(lyra_mpi_finalize)
        calls.thread.end()
    }

    /// Seconds that MPI may take to end the processes.
    private static let patience: UInt32 = 10
    /// Microseconds for the launcher to pass the message on: once it ends the processes, MPICH's drops what it has not
    /// read.
    private static let timeToForward: UInt32 = 200_000

    public func abort(_ message: String) {
        guard count > 1 else { return }
        let line = message.split(separator: "\n").joined(separator: " ")
        var text = SystemPath.printable("lyra: process \(rank) of \(count): \(line)") + "\n"
        _ = text.withUTF8 { write(STDERR_FILENO, $0.baseAddress, $0.count) }
        usleep(Self.timeToForward)
        calls.abort()
        sleep(Self.patience)
        _exit(1)  // mpirun then ends the others
    }
}

/// The calls of MPI, on a thread of their own.
private final class Calls: @unchecked Sendable {
    let thread: SerialThread
    private let isAborting = Atomic<Bool>(false)
    /// MPI's code for the first failure. The thread writes it; others read it after all jobs have ended.
    private var failure: Int32 = 0

    init(thread: SerialThread) { self.thread = thread }

    /// Makes a call after those that were posted. It is left out after a failure.
    func post(_ call: @escaping () -> Int32) {
        thread.post { if self.failure == 0 { self.failure = call() } }
    }

    /// The same for a call that waits busily for all processes.
    func postTogether(_ call: @escaping () -> Int32) {
        post {
            let error = self.awaitOthers()
            return error == 0 ? call() : error
        }
    }

    func perform(_ call: @escaping () -> Int32) throws {
        post(call)
        try finishAll()
    }

    func performTogether(_ call: @escaping () -> Int32) throws {
        postTogether(call)
        try finishAll()
    }

    /// Waits for all calls.
    func finishAll() throws {
        thread.waitForAll()
        guard failure != 0 else { return }
        throw LyraError(.io, "MPI: \(MPIGroup.text { lyra_mpi_message(failure, $0, $1) })")
    }

    func abort() {
        isAborting.store(true, ordering: .relaxed)
        thread.post { lyra_mpi_abort(1) }
    }

    /// Microseconds between two tests whether all processes are ready: from the first to the second.
    private static let pauses: ClosedRange<UInt32> = 20...1000

    private func awaitOthers() -> Int32 {
        var isPassed: Int32 = 0, pause = Self.pauses.lowerBound
        var error = lyra_mpi_begin_barrier()
        while error == 0 {
            error = lyra_mpi_test_barrier(&isPassed)
            if isPassed != 0 { break }
            if isAborting.load(ordering: .relaxed) { lyra_mpi_abort(1) }
            usleep(pause)
            pause = min(pause * 2, Self.pauses.upperBound)
        }
        return error
    }
}
