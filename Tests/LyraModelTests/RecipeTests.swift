import LyraTensor
import Testing

@testable import LyraModel
@testable import LyraTools

/// The type that each recipe chooses for a tensor.
@Suite struct RecipeTests {
    private func type(
        _ recipe: Recipe, _ name: String, _ shape: [Int], _ part: ModelPart = .main, of: ElementType = .bfloat16
    )
        -> ElementType
    {
        let tensor = StoredTensor(
            name: name, type: of, shape: shape, bytes: UnsafeRawBufferPointer(start: nil, count: 0), owner: Anchor(),
            source: "test")
        return recipe.type(of: name, tensor, in: part, layers: 28)
    }

    private final class Anchor {}

    /// Worked out by hand from llama.cpp's `use_more_bits` for 28 layers: the first 3, the last 4, every third between.
    @Test func theMixedRecipeKeepsMoreBitsWhereLlamaCppDoes() {
        let more = [0, 1, 2, 5, 8, 11, 14, 17, 20, 23, 24, 25, 26, 27]
        for layer in 0..<28 {
            for (module, shape) in [("attn_v", [256, 1536]), ("ffn_down", [1536, 8960])] {
                let want: ElementType = more.contains(layer) ? .q6_k : .q4_k
                #expect(type(.q4_k_m, "blk.\(layer).\(module).weight", shape) == want, "\(layer) \(module)")
                #expect(type(.q4_0, "blk.\(layer).\(module).weight", shape) == .q4_0)
                #expect(type(.q8_0, "blk.\(layer).\(module).weight", shape) == .q8_0)
            }
            for module in ["attn_q", "attn_k", "attn_output", "ffn_gate", "ffn_up"] {
                #expect(type(.q4_k_m, "blk.\(layer).\(module).weight", [1536, 1536]) == .q4_k)
            }
        }
    }

    @Test func embeddingsAndHeadKeepMoreBits() {
        for name in ["token_embd.weight", "output.weight"] {
            #expect(type(.q4_k_m, name, [151_936, 1536]) == .q6_k)
            #expect(type(.q4_0, name, [151_936, 1536]) == .q6_k)
            #expect(type(.q8_0, name, [151_936, 1536]) == .q8_0)
            #expect(type(.bf16, name, [151_936, 1536], of: .float32) == .bfloat16)
        }
    }

    @Test func otherPartsAreQ8() {
        let matrices: [(String, [Int], ModelPart)] = [
            ("generator.input_proj.weight", [4096, 1536], .main),
            ("generator.layers.0.mlp.gate_proj.weight", [11008, 4096], .main),
            ("projector.speech.linear1.weight", [2048, 6400], .main),
            ("speech_tower.layers.0.fc1.weight", [5120, 1280], .speechTower),
            ("vision_tower.merger.mlp.0.weight", [5120, 5120], .visionTower),
            ("sound_tower.trunk.blocks.0.attn.in_proj_weight", [2304, 768], .soundTower),
            ("adapter.0.projector.linear2.weight", [1536, 2048], .adapterProjector(0)),
        ]
        for (name, shape, part) in matrices {
            for recipe in [Recipe.q8_0, .q4_0, .q4_k_m] { #expect(type(recipe, name, shape, part) == .q8_0, "\(name)") }
            #expect(type(.bf16, name, shape, part, of: .float32) == .bfloat16)
        }
    }

    @Test func rowsTooShortForATypeFallBack() {
        #expect(type(.q4_k_m, "blk.3.attn_q.weight", [96, 96]) == .q8_0)
        #expect(type(.q4_k_m, "token_embd.weight", [512, 96]) == .q8_0)
        #expect(type(.q4_0, "token_embd.weight", [512, 96]) == .q8_0)
        for recipe in [Recipe.q4_k_m, .q4_0, .q8_0] {
            #expect(type(recipe, "blk.3.attn_q.weight", [48, 48]) == .bfloat16)
            #expect(type(recipe, "blk.3.attn_q.weight", [48, 48], of: .float32) == .float32)
            #expect(type(recipe, "speech_tower.layers.0.fc1.weight", [96, 48], .speechTower) == .bfloat16)
            #expect(
                type(recipe, "speech_tower.layers.0.fc1.weight", [96, 48], .speechTower, of: .float32) == .bfloat16)
        }
    }

    /// Norms and biases of the language model become F32, which llama.cpp requires. Other parts keep their types.
    @Test func smallAndFirstTensorsAreNotQuantized() {
        for recipe in [Recipe.q4_k_m, .q4_0, .q8_0, .bf16] {
            for name in ["output_norm.weight", "blk.0.attn_norm.weight", "blk.0.attn_q.bias"] {
                #expect(type(recipe, name, [1536]) == .float32)
            }
            let wide: [(String, [Int], ModelPart)] = [
                ("speech_tower.conv1.weight", [1280, 128, 3], .speechTower),
                ("speech_tower.embed_positions.weight", [1500, 1280], .speechTower),
                ("vision_tower.patch_embed.proj.weight", [1280, 3, 2, 14, 14], .visionTower),
                ("sound_tower.stem.pos_embedding_helper.pos_embed", [1, 229, 768], .soundTower),
                ("generator.layers.0.input_layernorm.weight", [4096], .main),
            ]
            for (name, shape, part) in wide {
                #expect(type(recipe, name, shape, part) == .bfloat16)
                let isSmaller = part != .main && recipe != .bf16
                #expect(type(recipe, name, shape, part, of: .float32) == (isSmaller ? .bfloat16 : .float32))
            }
            #expect(type(recipe, "vision_tower.blocks.0.norm1.weight", [1280], .visionTower, of: .float32) == .float32)
            #expect(
                type(recipe, "adapter.1.blk.0.attn_q.weight.lora_a", [64, 1536], .adapter(1), of: .float32) == .bfloat16
            )
        }
        #expect(type(.f32, "vision_tower.patch_embed.proj.weight", [1280, 3, 2, 14, 14], .visionTower) == .float32)
        #expect(type(.bf16, "vocoder.ups.0.weight_v", [512, 256, 16], .vocoder, of: .float32) == .float32)
    }

    @Test func recipesAreFoundByNameAndUnknownNamesListTheKnownOnes() throws {
        for recipe in Recipe.all { #expect(try Recipe(named: recipe.name) == recipe) }
        expect(.argument, "q9", "q4_k_m") { _ = try Recipe(named: "q9") }
    }
}
