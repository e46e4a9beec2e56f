import CKernels
import Foundation
import LyraBase
import Synchronization
import Testing

@testable import LyraTensor

@Suite(.serialized) struct BufferPoolTests {
    @Test func aReturnedBufferIsReusedForItsSize() throws {
        BufferPool.trim()
        let size = try #require(BufferPool.bufferSize(1 << 20))
        let first = try #require(BufferPool.take(size))
        let second = try #require(BufferPool.take(size))
        #expect(first != second)
        BufferPool.give(first, size)
        #expect(BufferPool.take(size) == first)
        BufferPool.give(first, size)
        BufferPool.give(second, size)
        BufferPool.trim()
    }

    /// Buffers of sizes that are no longer requested make room for newer ones.
    @Test func theNewestBuffersAreKept() throws {
        BufferPool.trim()
        let old = try #require(BufferPool.bufferSize(BufferPool.limit / 4))
        let stale = try (0..<4).map { _ in try #require(BufferPool.take(old)) }
        for buffer in stale { BufferPool.give(buffer, old) }
        let size = try #require(BufferPool.bufferSize(8 << 20))
        let buffer = try #require(BufferPool.take(size))
        BufferPool.give(buffer, size)
        #expect(BufferPool.take(size) == buffer, "the buffer was kept")
        BufferPool.give(buffer, size)
        let again = try (0..<3).map { _ in try #require(BufferPool.take(old)) }
        #expect(Set(again) == Set(stale.dropFirst()), "the oldest was freed")
        for buffer in again { BufferPool.give(buffer, old) }
        let huge = try #require(BufferPool.bufferSize(BufferPool.limit + 1))
        BufferPool.give(try #require(BufferPool.take(huge)), huge)
        let third = try (0..<3).map { _ in try #require(BufferPool.take(old)) }
        #expect(Set(third) == Set(again), "a buffer beyond the limit replaces no other")
        for buffer in third { BufferPool.give(buffer, old) }
        BufferPool.trim()
    }

    /// A child that is forked while another thread uses the pool can use it, too.
    @Test func aForkedChildCanUseThePool() throws {
        typealias Fork = @convention(c) () -> pid_t
        let address = try #require(dlsym(nil, "fork")), fork = unsafeBitCast(address, to: Fork.self)
        let size = try #require(BufferPool.bufferSize(1 << 20))
        let goesOn = Mutex(true), ends = DispatchSemaphore(value: 0)
        Thread.detachNewThread {
            while goesOn.withLock({ $0 }) {
                if let buffer = BufferPool.take(size) { BufferPool.give(buffer, size) }
            }
            ends.signal()
        }
        defer {
            goesOn.withLock { $0 = false }
            ends.wait()
            BufferPool.trim()
        }
        for _ in 0..<300 {
            let child = fork()
            if child == 0 {
                alarm(5)  // ends a child that hangs
                if let buffer = BufferPool.take(size) { BufferPool.give(buffer, size) }
                _exit(0)
            }
            var status: Int32 = -1
            #expect(waitpid(child, &status, 0) == child)
            try #require(status == 0)
        }
    }

    /// Allocations that can be large, each of more memory than is left beside the buffers that the pool keeps.
    enum Allocation: CaseIterable {
        case tensor, smallTensors, cache, weight, growingBuffer, mapping, kernels

        func succeeds() -> Bool {
            let half = BufferPool.limit / 2
            do {
                switch self {
                case .tensor: _ = try FloatStorage(count: half / 4)
                case .smallTensors: _ = try (0..<half / 200_000).map { _ in try FloatStorage(count: 50_000) }
                case .cache: _ = try FloatStorage(mapping: half / 4)
                case .weight: _ = try PackedStorage(byteCount: half)
                case .growingBuffer: try GrowingBuffer<UInt8>().reserve(half)
                case .mapping: try requireMemory(half)
                case .kernels: return kernelsHaveScratch()
                }
                return true
            } catch { return false }
        }

        /// A convolution of a single output column copies its input to scratch memory: here 1024 times the same row.
        private func kernelsHaveScratch() -> Bool {
            let channels = 1024, kernel = 2, dilation = 1 << 15
            var y: Float = 0
            return withUnsafeMutablePointer(to: &y) { y in
                var output = lk_conv1d_output(
                    add: nil, ld_add: 0, y: y, ldy: 1, activated: nil, ld_activated: 0, slope: 0)
                return lk_conv1d_into(
                    &output, Self.input, 0, 1, Self.packed, nil, channels, 1, kernel, dilation) == Int32(LK_OK)
            }
        }

        /// Zeros, allocated while there is room.
        nonisolated(unsafe) static let input = zeros((1 << 15) + 1)
        nonisolated(unsafe) static let packed = zeros(lk_conv1d_packed_count(1024, 1, 2))

        private static func zeros(_ count: Int) -> UnsafePointer<Float> {
            let memory = UnsafeMutablePointer<Float>.allocate(capacity: count)
            memory.initialize(repeating: 0, count: count)
            return UnsafePointer(memory)
        }
    }

    /// Lets the process map no more than it has mapped.
    private func useUpAddresses() {
        var text = [CChar](repeating: 0, count: 64)
        let file = open("/proc/self/statm", O_RDONLY)
        guard read(file, &text, text.count - 1) > 0 else { _exit(3) }
        close(file)
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit)
        limit.rlim_cur = rlim_t(atol(text)) * rlim_t(getpagesize())
        guard setrlimit(__rlimit_resource_t(RLIMIT_AS.rawValue), &limit) == 0 else { _exit(3) }
    }

    /// An allocation that fails first frees the buffers that the pool keeps, and tries again.
    @Test(arguments: Allocation.allCases) func noAllocationFailsForThePoolsSake(_ allocation: Allocation) throws {
        typealias Fork = @convention(c) () -> pid_t
        let address = try #require(dlsym(nil, "fork")), fork = unsafeBitCast(address, to: Fork.self)
        defer { BufferPool.trim() }
        withExtendedLifetime((Allocation.input, Allocation.packed)) {}
        func verdict(keeping: Int) throws -> Int32 {
            BufferPool.trim()
            if keeping > 0 {
                let size = try #require(BufferPool.bufferSize(keeping))
                BufferPool.give(try #require(BufferPool.take(size)), size)
            }
            let child = fork()
            if child == 0 {
                alarm(10)
                useUpAddresses()
                _exit(allocation.succeeds() ? 1 : 2)
            }
            var status: Int32 = -1
            #expect(waitpid(child, &status, 0) == child)
            return status >> 8 & 0xFF
        }
        // Where small allocations use up the whole heap, an error's message has no room either.
        if allocation != .smallTensors { #expect(try verdict(keeping: 0) == 2, "there is no room") }
        #expect(try verdict(keeping: BufferPool.limit * 7 / 8) == 1, "the pool makes room")
    }

    /// Sizes are rounded up by an eighth at most, so that similar sizes share buffers.
    @Test func sizesAreRoundedUpALittle() throws {
        var sizes = Set<Int>()
        for bytes in stride(from: 1, through: 40 << 20, by: 77_777) {
            let size = try #require(BufferPool.bufferSize(bytes))
            #expect(size >= bytes && size >= BufferPool.leastBytes && size % 4096 == 0)
            #expect(size <= max(bytes + bytes / 8 + 1, bytes + 64 << 10, BufferPool.leastBytes))
            sizes.insert(size)
        }
        #expect(sizes.count < 70)
        #expect(BufferPool.bufferSize(.max) == nil)
    }

    @Test func floatsAreWritableToTheEnd() throws {
        for count in [1, 65_535, 65_536, 65_537, 1_000_003] {
            let storage = try FloatStorage(count: count)
            (storage.base[0], storage.base[count - 1]) = (1, 2)
            #expect(Int(bitPattern: storage.base) % 64 == 0 && storage.base[count - 1] == 2)
        }
    }

    /// Memory that the chunks of a prompt take and return does not accumulate.
    @Test func memoryOfRepeatedChunksIsReused() throws {
        func resident() throws -> Int {
            let fields = try String(contentsOfFile: "/proc/self/statm", encoding: .utf8).split(separator: " ")
            return try #require(Int(fields[1])) * 4096
        }
        func touched(_ count: Int) throws -> FloatStorage {
            let storage = try FloatStorage(count: count)
            storage.base.update(repeating: 1, count: count)
            return storage
        }
        BufferPool.trim()
        var before = 0
        for round in 0..<200 {
            // As in a layer: one large buffer, while smaller ones that live longer are taken.
            let wide = try touched(512 * 8960)
            let kept = try touched(512 * 1536)
            let gated = try touched(512 * 4480)
            withExtendedLifetime((wide, kept, gated)) {}
            if round == 10 { before = try resident() }
        }
        #expect(try resident() - before < 8 << 20)
        BufferPool.trim()
        #expect(try resident() < before - 20 << 20, "trim returns the kept memory to the system")
    }
}
