import CMemory
import Glibc

/// The memory that `attempt` allocates. If there is none, frees the memory that the process keeps for reuse, and calls
/// `attempt` once more.
///
/// Every allocation that can be large goes through this function, so that the pool of buffers is never the reason why
/// one fails.
@inlinable
public func retryingAllocation<Memory>(_ attempt: () -> Memory?) -> Memory? {
    if let memory = attempt() { return memory }
    return freeKeptMemory() ? attempt() : nil
}

@usableFromInline
func freeKeptMemory() -> Bool { lyra_free_kept() != 0 }

/// A new private mapping of zeroed memory, with a retry. Nil if there is no room.
public func mapMemory(_ bytes: Int) -> UnsafeMutableRawPointer? {
    retryingAllocation {
        let memory = mmap(nil, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
        return memory == MAP_FAILED ? nil : memory
    }
}
