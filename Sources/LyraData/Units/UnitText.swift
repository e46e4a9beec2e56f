/// Speech units as data files state them (`tgt_unit`): "<12><7><7>".
package enum UnitText {
    package static func text(_ units: [Int32]) -> String { units.map { "<\($0)>" }.joined() }

    /// Units with each run of the same unit replaced by one: what the speech generator predicts, because the vocoder
    /// predicts durations ("reduced units" of arXiv 2107.05604).
    package static func reduced(_ units: [Int32]) -> [Int32] {
        units.enumerated().filter { $0.offset == 0 || units[$0.offset - 1] != $0.element }.map(\.element)
    }
}
