"""Writes a GGUF of random weights in the language model's shape: random_gguf.py PRESET TYPE FILE. Needs gguf and numpy.

Layers share the values of their matrices, which makes it quick; each has its own bytes in the file, so that they are
read from memory as different ones are.
"""

import os
import sys

import gguf
import numpy as np

from shape import LANGUAGE, NORM_EPSILON, ROPE_THETA

TYPES = {
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, gguf.LlamaFileType.MOSTLY_Q8_0),
    "q4_0": (gguf.GGMLQuantizationType.Q4_0, gguf.LlamaFileType.MOSTLY_Q4_0),
    "bf16": (gguf.GGMLQuantizationType.BF16, gguf.LlamaFileType.MOSTLY_BF16),
}
CONTEXT = 32_768


class RandomModel:
    def __init__(self, path, sizes, kind):
        self.sizes = sizes
        self.type, self.file_type = TYPES[kind]
        self.writer = gguf.GGUFWriter(path, "qwen2")
        self.random = np.random.default_rng(1)
        self.made = {}

    def matrix(self, name, rows, columns):
        if (rows, columns) not in self.made:
            values = self.random.standard_normal((rows, columns), np.float32) * np.float32(0.02)
            self.made[rows, columns] = gguf.quants.quantize(values, self.type)
        self.writer.add_tensor(name, self.made[rows, columns], raw_dtype=self.type)

    def vector(self, name, value, count):
        self.writer.add_tensor(name, np.full(count, value, np.float32))

    def describe(self):
        writer, sizes = self.writer, self.sizes
        writer.add_block_count(sizes["layers"])
        writer.add_context_length(CONTEXT)
        writer.add_embedding_length(sizes["hidden"])
        writer.add_feed_forward_length(sizes["inner"])
        writer.add_head_count(sizes["heads"])
        writer.add_head_count_kv(sizes["kv_heads"])
        writer.add_rope_freq_base(ROPE_THETA)
        writer.add_layer_norm_rms_eps(NORM_EPSILON)
        writer.add_file_type(self.file_type)
        # A vocabulary of the right length; no text is tokenized.
        writer.add_tokenizer_model("gpt2")
        writer.add_tokenizer_pre("qwen2")
        writer.add_token_list([f"t{index}" for index in range(sizes["vocabulary"])])
        writer.add_token_types([gguf.TokenType.NORMAL] * sizes["vocabulary"])
        writer.add_token_merges(["t 1"])
        writer.add_eos_token_id(0)
        writer.add_bos_token_id(1)

    def add_tensors(self):
        sizes = self.sizes
        hidden, inner = sizes["hidden"], sizes["inner"]
        shared = hidden // sizes["heads"] * sizes["kv_heads"]
        # Without an output matrix, the head is tied to the embedding, as in Lyra_Mini_3B.
        self.matrix("token_embd.weight", sizes["vocabulary"], hidden)
        self.vector("output_norm.weight", 1, hidden)
        for layer in range(sizes["layers"]):
            block = f"blk.{layer}."
            for name in ("attn_norm", "ffn_norm"):
                self.vector(f"{block}{name}.weight", 1, hidden)
            for name, rows in (("attn_q", hidden), ("attn_k", shared), ("attn_v", shared)):
                self.matrix(f"{block}{name}.weight", rows, hidden)
                self.vector(f"{block}{name}.bias", 0, rows)
            self.matrix(f"{block}attn_output.weight", hidden, hidden)
            self.matrix(f"{block}ffn_gate.weight", inner, hidden)
            self.matrix(f"{block}ffn_up.weight", inner, hidden)
            self.matrix(f"{block}ffn_down.weight", hidden, inner)

    def write(self):
        self.describe()
        self.add_tensors()
        self.writer.write_header_to_file()
        self.writer.write_kv_data_to_file()
        self.writer.write_tensors_to_file()
        self.writer.close()


def make(preset, kind, path):
    """Writes the file, which gets its name when it is complete."""
    partial = f"{path}.partial"
    RandomModel(partial, LANGUAGE[preset], kind).write()
    os.replace(partial, path)


if __name__ == "__main__":
    make(*sys.argv[1:])
