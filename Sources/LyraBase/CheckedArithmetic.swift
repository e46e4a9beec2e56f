/// Arithmetic on untrusted numbers: nil on overflow, not a trap.
extension FixedWidthInteger {
    @inlinable public func checkedAdding(_ other: Self) -> Self? {
        let (sum, overflow) = addingReportingOverflow(other)
        return overflow ? nil : sum
    }

    @inlinable public func checkedSubtracting(_ other: Self) -> Self? {
        let (difference, overflow) = subtractingReportingOverflow(other)
        return overflow ? nil : difference
    }

    @inlinable public func checkedMultiplying(by other: Self) -> Self? {
        let (product, overflow) = multipliedReportingOverflow(by: other)
        return overflow ? nil : product
    }
}

/// Arithmetic on sizes, for totals that are compared with a limit: `Int.max`, which exceeds every limit, in place of a
/// trap where the result does not fit. Neither number is negative.
extension Int {
    @inlinable public func saturatingAdding(_ other: Int) -> Int { checkedAdding(other) ?? .max }
    @inlinable public func saturatingMultiplying(by other: Int) -> Int { checkedMultiplying(by: other) ?? .max }
}
