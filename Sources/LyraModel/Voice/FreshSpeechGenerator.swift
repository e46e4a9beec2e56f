import LyraTensor

/// A speech generator before its training, for a checkpoint that has none.
package protocol FreshSpeechGenerator {
    var configuration: SpeechGeneratorConfiguration { get }
    /// Its weights, under the published names (`speech_generator.input_proj.weight`, …).
    func weights(precision: Precision) -> any WeightSource
}
