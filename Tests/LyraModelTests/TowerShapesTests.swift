import LyraFormats
import LyraMedia
import LyraTensor
import Testing

@testable import LyraModel

/// Towers without a config.json: sizes that follow from the tensors' shapes, and impossible shapes.
@Suite struct TowerShapesTests {
    private final class Anchor {}

    /// Tensors without elements: a file can state any shape that contains a zero.
    private func tower(_ shapes: [String: [Int]]) -> TensorTable {
        TensorTable(
            origin: "tower",
            tensors: shapes.reduce(into: [:]) { tensors, entry in
                tensors[entry.key] = StoredTensor(
                    name: entry.key, type: .bfloat16, shape: entry.value,
                    bytes: UnsafeRawBufferPointer(start: nil, count: 0), owner: Anchor(), source: "tower")
            })
    }

    private func vision(embedding: [Int], fc1: [Int] = [5120, 0], merger1: [Int] = [5120, 0]) throws
        -> VisionConfiguration
    {
        try VisionConfiguration(
            shapesOf: tower([
                "patch_embed.proj.weight": embedding, "blocks.0.mlp.fc1.weight": fc1,
                "merger.mlp.0.weight": merger1, "merger.mlp.2.weight": [1536, 0],
            ]))
    }

    @Test func theSizesOfAVisionTowerFollowFromItsShapes() throws {
        let vision = try vision(embedding: [1280, 3, 2, 14, 14])
        #expect((vision.width, vision.heads, vision.merge, vision.layers) == (1280, 16, 2, 1))
        #expect((vision.inner, vision.patch, vision.temporalPatch, vision.outputWidth) == (5120, 14, 2, 1536))
    }

    @Test(arguments: [80 << 56, .max / 80 * 80, 1 << 16 + 80, 0, -80, 79]) func impossibleWidthsAreRefused(
        _ width: Int
    ) {
        expect(.missing, "tower", "shapes") { _ = try vision(embedding: [width, 3, 0, 14, 14]) }
    }

    @Test func otherImpossibleSizesAreRefused() {
        for size in [Int.max, 0, .min] {
            expect(.format, "embed_dim · mlp_ratio") {
                _ = try vision(embedding: [1280, 3, 2, 14, 14], fc1: [size, 0])
            }
            expect(.missing, "shapes") { _ = try vision(embedding: [1280, 3, 2, 14, 14], merger1: [size, 0]) }
            expect(.format, "patch_size") { _ = try vision(embedding: [1280, 3, 2, size, 14]) }
            expect(.format, "temporal_patch_size") { _ = try vision(embedding: [1280, 3, size, 14, 14]) }
        }
    }

    @Test(arguments: ["conv1.weight", "embed_positions.weight", "layers.0.fc1.weight"], [Int.max / 64 * 64, 0, -64])
    func impossibleSizesOfASpeechTowerAreRefused(_ name: String, _ size: Int) throws {
        var shapes = [
            "conv1.weight": [1280, 128, 3], "embed_positions.weight": [1500, 1280],
            "layers.0.fc1.weight": [5120, 1280],
        ]
        #expect(try WhisperConfiguration(shapesOf: tower(shapes)).heads == 20)
        shapes[name]?[0] = size
        expect(.format, "tower") { _ = try WhisperConfiguration(shapesOf: tower(shapes)) }
    }

    /// The scale of a sound tower is one number, whatever its shape claims.
    @Test(arguments: [[0, 1 << 62, 4], [0], [2], [1, 1 << 62, 0], [Int](repeating: 2, count: 20)])
    func aSoundTowersScaleIsOneNumber(_ shape: [Int]) throws {
        let name = "modality_postprocessors.audio.1.log_logit_scale"
        var tensors = try TorchFile(path: Golden.path("a") + "/model_zoo/audio/imagebind_tiny.pth").tensors()
        #expect(tensors[name] != nil)
        func open() throws {
            _ = try SoundEncoder(TensorTable(origin: "tower", tensors: tensors), clipShape: SoundClips.shape)
        }
        try open()
        tensors[name] = tower([name: shape]).tensors[name]
        expect(.format, "tower", name, "one number") { try open() }
    }
}
