"""Makes GGUF's quantized blocks with the package gguf, the reference for the formats. Needs gguf and numpy.

    python make_blocks.py

values.f32: numbers to quantize, rows of 256; q8_0.bin, q4_0.bin: their blocks. q8_0.f32, q4_0.f32, q4_k.f32, q6_k.f32:
what the package reads from q8_0.bin, q4_0.bin and from the random blocks of q4_k.bin and q6_k.bin.
"""
import os

import gguf
import numpy as np

HERE = os.path.dirname(os.path.abspath(__file__))
TYPES = gguf.GGMLQuantizationType


def values(rng):
    """Usual weights, and unusual ones: zeros, halves and ties, one outlier, very small and very large scales."""
    rows = [rng.standard_normal((4, 256)) * 0.02, np.zeros((1, 256)), rng.integers(-8, 8, (1, 256)),
            rng.integers(-254, 255, (1, 256)) / 2, np.where(np.arange(256) % 32 == 5, 100, 0.01)[None],
            rng.standard_normal((1, 256)) * 1e-6, rng.standard_normal((1, 256)) * 1e5, -np.ones((1, 256)),
            np.tile([3, -3], 128)[None]]
    return np.concatenate(rows).astype(np.float32)


def blocks(rng, quantization, count):
    """Random bits with moderate scales; the last quantization block has the largest possible numbers."""
    size = gguf.GGML_QUANT_SIZES[quantization][1]
    made = rng.integers(0, 256, (count, size), dtype=np.uint8)
    scales = [0, 2] if quantization == TYPES.Q4_K else [size - 2]
    for at in scales:
        halves = (rng.standard_normal(count) * 0.01).astype(np.float16)
        made[:, at:at + 2] = halves[:, None].view(np.uint8)
    made[-1, [i for i in range(size) if not any(at <= i < at + 2 for at in scales)]] = 255
    return made


def save(name, array):
    array.tofile(os.path.join(HERE, name))


def main():
    rng = np.random.default_rng(7)
    x = values(rng)
    save("values.f32", x)
    made = {"q8_0": gguf.quants.quantize(x, TYPES.Q8_0), "q4_0": gguf.quants.quantize(x, TYPES.Q4_0),
            "q4_k": blocks(rng, TYPES.Q4_K, 8), "q6_k": blocks(rng, TYPES.Q6_K, 8)}
    for name, data in made.items():
        save(name + ".bin", data)
        save(name + ".f32", gguf.quants.dequantize(data, TYPES[name.upper()]))


main()
