import CKernels
import Foundation

private let all = [LK_ISA_GENERIC, LK_ISA_AVX2, LK_ISA_AVX512, LK_ISA_AVX512VNNI, LK_ISA_AVX512BF16]

private func name(_ isa: lk_isa) -> String { String(cString: lk_isa_name(isa)) }

/// The limit that LYRA_ISA sets, or none, for `lk_limit_isa`.
public func usualISA() -> lk_isa {
    let limit = ProcessInfo.processInfo.environment["LYRA_ISA"]?.lowercased()
    return all.first { name($0) == limit } ?? LK_ISA_NO_LIMIT
}

/// Runs `body` once for each instruction set of this processor, then restores the usual one.
public func onEachISA(_ body: (String) throws -> Void) rethrows {
    defer { _ = lk_limit_isa(usualISA()) }
    for isa in all where lk_limit_isa(isa) != 0 { try body(name(isa)) }
}
