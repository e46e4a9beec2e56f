import LyraBase
import LyraFormats

/// What decides the numbers of a run. A saved state continues only a run of the same identity, so that a resumed run
/// gives the numbers of one that was never interrupted.
///
/// | what | how it is identified |
/// |---|---|
/// | the recipe | the values of the keys on which numbers depend (`RecipeField.isFixed`) |
/// | checkpoint, towers, the adapter and heads to start from, a vocoder that is trained | names, shapes and samples of all parameters, before the first update |
/// | examples, validation data | sizes and samples of the bytes of their files |
/// | media | the lengths of examples, on which the batches depend; size and beginning of some files |
/// | processes | their number |
///
/// Paths do not count: files can be moved. Neither do the settings of loaders, saving and logging, `recompute`, and the
/// number of compute threads, which changes only the order of additions.
package struct RunIdentity: Codable, Equatable, Sendable {
    /// The recipe as TOML.
    package var recipe = ""
    /// Fingerprints: of the checkpoint, of the adapter to start from (with its projector), and of towers with the sound
    /// projector.
    package var model = ""
    package var adapter = ""
    package var towers = ""
    /// Of a tower's heads.
    package var heads = ""
    /// Fingerprints of the files of examples, and of their media.
    package var data = ""
    package var media = ""
    package var validation = ""
    package var validationMedia = ""
    package var processes = 1

    package init(recipe: String = "", processes: Int = 1) { (self.recipe, self.processes) = (recipe, processes) }

    /// What differs from the identity of a saved state, in words; the recipe apart.
    func differences(from saved: RunIdentity) -> [String] {
        let all: [(String, KeyPath<RunIdentity, String>)] = [
            ("model is another checkpoint, or its weights have changed", \.model),
            ("the adapter that the run starts from has other weights", \.adapter),
            ("the towers have other weights", \.towers),
            ("the heads that the run starts from have other weights", \.heads),
            ("data are other examples", \.data),
            ("the media of the examples are other files, or have other lengths", \.media),
            ("validation.data are other examples", \.validation),
            ("the media of the validation data are other files", \.validationMedia),
        ]
        var differences = all.filter { saved[keyPath: $0.1] != self[keyPath: $0.1] }.map(\.0)
        if processes != saved.processes {
            differences.append("there are \(processes) processes, were \(saved.processes)")
        }
        return differences
    }

    /// A checksum of the fingerprints, for processes to compare.
    var checksum: UInt32 {
        var sum = CRC32()
        sum.update([model, adapter, towers, heads, data, media, validation, validationMedia].joined(separator: ";"))
        return sum.value
    }
}
