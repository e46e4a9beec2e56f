/// A 64-bit hash of a text that is the same on every machine (FNV-1a; Fowler, Noll and Vo, 1991): for choices that
/// follow from a name, whatever else is in the data.
package func stableHash(_ text: String, seed: UInt64 = 0) -> UInt64 {
    text.utf8.reduce(seed ^ 0xcbf2_9ce4_8422_2325) { ($0 ^ UInt64($1)) &* 0x100_0000_01b3 }
}
