import CKernels
import Foundation

#if arch(arm64)
    private let all = [LK_ISA_GENERIC, LK_ISA_NEONDOT, LK_ISA_NEONI8MM, LK_ISA_NEONBF16]
#else
    private let all = [
        LK_ISA_GENERIC, LK_ISA_AVX2, LK_ISA_AVXVNNI, LK_ISA_AVX512, LK_ISA_AVX512VNNI, LK_ISA_AVX512BF16, LK_ISA_AMX,
    ]
#endif

private func name(_ isa: lk_isa) -> String { String(cString: lk_isa_name(isa)) }

/// The limit that LYRA_ISA sets, or none, for `lk_limit_isa`.
public func usualISA() -> lk_isa {
    let limit = ProcessInfo.processInfo.environment["LYRA_ISA"]?.lowercased()
    return all.first { name($0) == limit } ?? LK_ISA_NO_LIMIT
}

/// Runs `body` once for each instruction set of this processor, then restores the usual one.
///
/// - Parameter tiles: whether also on tiles, and with the functions that stand in for them, which every processor has.
public func onEachISA(tiles: Bool = false, _ body: (String) throws -> Void) rethrows {
    defer { _ = lk_limit_isa(usualISA()) }
    for isa in all where (tiles || isa != LK_ISA_AMX) && lk_limit_isa(isa) != 0 { try body(name(isa)) }
    _ = lk_limit_isa(usualISA())
    if tiles { try onTiles { try body("tiles") } }
}

/// Runs `body` with the functions that stand in for tiles.
public func onTiles<Result>(_ body: () throws -> Result) rethrows -> Result {
    lk_use_amx_stand_in(1)
    defer { lk_use_amx_stand_in(0) }
    return try body()
}

/// Limits the kernels to those without tiles, for tests of what the others round.
public func withoutTiles() {
    lk_use_amx_stand_in(0)
    if lk_current_isa() == LK_ISA_AMX { _ = lk_limit_isa(LK_ISA_AVX512VNNI) }
}
