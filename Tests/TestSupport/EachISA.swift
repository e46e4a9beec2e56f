import CKernels
import Foundation

/// Runs `body` once for each instruction set of this processor, then restores the limit that LYRA_ISA sets.
public func onEachISA(_ body: (String) throws -> Void) rethrows {
    let all = [LK_ISA_GENERIC, LK_ISA_AVX2, LK_ISA_AVX512, LK_ISA_AVX512VNNI, LK_ISA_AVX512BF16]
    func name(_ isa: lk_isa) -> String { String(cString: lk_isa_name(isa)) }
    let limit = ProcessInfo.processInfo.environment["LYRA_ISA"]?.lowercased()
    let usual = all.first { name($0) == limit } ?? LK_ISA_NO_LIMIT
    defer { _ = lk_limit_isa(usual) }
    for isa in all where lk_limit_isa(isa) != 0 { try body(name(isa)) }
}
