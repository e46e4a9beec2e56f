import Glibc

/// What an MPI launcher (mpirun, mpiexec, srun) says of the processes that it started, in their environment.
public struct MPILaunch: Sendable, Equatable {
    /// The number of processes; nil if the launcher does not say.
    public let count: Int?
    /// Whether the launcher is that of MPICH and its relatives.
    public let isMPICH: Bool

    /// Reads the environment.
    public init() { self.init { getenv($0).map { String(cString: $0) } } }

    init(_ variable: (String) -> String?) {
        let ofOpenMPI = variable("OMPI_COMM_WORLD_SIZE"), ofMPICH = variable("PMI_SIZE")
        isMPICH = ofOpenMPI == nil && (ofMPICH ?? variable("PMI_RANK")) != nil
        count = (ofOpenMPI ?? ofMPICH).flatMap { Int($0) }
    }

    /// The group that this process belongs to: over MPI if a launcher started several processes, otherwise the process
    /// alone.
    ///
    /// - Parameter requiresMPI: whether to use MPI in any case: for launchers that say nothing
    /// - Throws: as `MPIGroup.init`
    public func group(requiresMPI: Bool = false) throws -> any ProcessGroup {
        requiresMPI || count ?? 1 > 1 ? try MPIGroup(self) : SingleProcess()
    }
}
