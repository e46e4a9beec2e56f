"""Writes a Whisper of random weights in whisper.cpp's file format, with the published sizes of the encoder and a
decoder of one layer, which the format requires. Needs gguf and numpy.

To save time, all layers have the same values; each has its own bytes in the file.
"""

import os
import struct

import gguf
import numpy as np

from shape import ENCODER

MAGIC = 0x67676D6C
# The numbers of a type, for tensors and for the file. Quantized files add a version, in thousands.
F32, F16 = 0, 1
TYPES = {
    "bf16": (gguf.GGMLQuantizationType.BF16, 24),
    "q8_0": (gguf.GGMLQuantizationType.Q8_0, 2007),
}
VOCABULARY, TEXT_CONTEXT, TEXT_LAYERS = 51_866, 448, 1
SPECTRUM = 201


class RandomWhisper:
    def __init__(self, file, sizes, kind):
        self.file, self.sizes = file, sizes
        self.type, self.file_type = TYPES[kind]
        self.random = np.random.default_rng(1)
        self.made = {}

    def integers(self, *values):
        self.file.write(struct.pack(f"<{len(values)}i", *values))

    def tensor(self, name, shape, kind, data):
        """Writes a tensor. In the format, the contiguous dimension is the first."""
        text = name.encode()
        self.integers(len(shape), len(text), kind, *reversed(shape))
        self.file.write(text)
        self.file.write(data.tobytes())

    def values(self, *shape):
        return self.random.standard_normal(shape, np.float32) * np.float32(0.02)

    def matrix(self, name, rows, columns):
        if (rows, columns) not in self.made:
            self.made[rows, columns] = gguf.quants.quantize(self.values(rows, columns), self.type)
        self.tensor(name, (rows, columns), int(self.type), self.made[rows, columns])

    def plain(self, name, *shape, value=None):
        data = self.values(*shape) if value is None else np.full(shape, value, np.float32)
        self.tensor(name, shape, F32, data)

    def convolution(self, name, outputs, inputs):
        shape = (outputs, inputs, 3)
        self.tensor(f"{name}.weight", shape, F16, self.values(*shape).astype(np.float16))
        self.plain(f"{name}.bias", outputs, 1, value=0)

    def norm(self, name, width):
        self.plain(f"{name}.weight", width, value=1)
        self.plain(f"{name}.bias", width, value=0)

    def attention(self, name, width):
        self.norm(f"{name}_ln", width)
        for part in ("query", "key", "value", "out"):
            self.matrix(f"{name}.{part}.weight", width, width)
            if part != "key":
                self.plain(f"{name}.{part}.bias", width, value=0)

    def layer(self, name, width, inner):
        self.attention(f"{name}.attn", width)
        self.norm(f"{name}.mlp_ln", width)
        for part, rows, columns in (("mlp.0", inner, width), ("mlp.2", width, inner)):
            self.matrix(f"{name}.{part}.weight", rows, columns)
            self.plain(f"{name}.{part}.bias", rows, value=0)

    def header(self):
        sizes = self.sizes
        self.integers(
            MAGIC, VOCABULARY, sizes["positions"], sizes["width"], sizes["heads"], sizes["layers"], TEXT_CONTEXT,
            sizes["width"], sizes["heads"], TEXT_LAYERS, sizes["mels"], self.file_type)
        self.integers(sizes["mels"], SPECTRUM)
        self.file.write(np.zeros((sizes["mels"], SPECTRUM), np.float32).tobytes())
        # No tokens: whisper.cpp generates names for them.
        self.integers(0)

    def write(self):
        width, inner = self.sizes["width"], self.sizes["inner"]
        self.header()
        self.plain("encoder.positional_embedding", self.sizes["positions"], width)
        self.convolution("encoder.conv1", width, self.sizes["mels"])
        self.convolution("encoder.conv2", width, width)
        for index in range(self.sizes["layers"]):
            self.layer(f"encoder.blocks.{index}", width, inner)
        self.norm("encoder.ln_post", width)
        self.plain("decoder.positional_embedding", TEXT_CONTEXT, width)
        self.matrix("decoder.token_embedding.weight", VOCABULARY, width)
        for index in range(TEXT_LAYERS):
            self.layer(f"decoder.blocks.{index}", width, inner)
            self.attention(f"decoder.blocks.{index}.cross_attn", width)
        self.norm("decoder.ln", width)


def make(preset, kind, path):
    """Writes the file, which gets its name when it is complete."""
    sizes = ENCODER[preset]
    if sizes["inner"] != 4 * sizes["width"]:
        raise ValueError(f"whisper.cpp runs encoders that widen four times, and preset {preset} does not")
    partial = f"{path}.partial"
    with open(partial, "wb") as file:
        RandomWhisper(file, sizes, kind).write()
    os.replace(partial, path)
