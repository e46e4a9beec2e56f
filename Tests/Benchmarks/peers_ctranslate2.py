"""CTranslate2 as a peer: peers_ctranslate2.py THREADS FOLDER.

Its 8-bit weights have one scale per row; activations are rounded to bytes during the computation.
"""

import os
import sys
import time

import ctranslate2
import numpy as np
from ctranslate2.specs import common_spec, transformer_spec

from shape import LANGUAGE, NORM_EPSILON, ROPE_THETA, prompt
from worker import serve

TYPES = {"q8_0": "int8"}


def name(token):
    return f"t{token}"


def make(preset, kind, folder):
    """Writes a model of random weights. The folder gets its name when it is complete."""
    sizes = LANGUAGE[preset]
    hidden, inner, kv_heads = sizes["hidden"], sizes["inner"], sizes["kv_heads"]
    random, made = np.random.default_rng(1), {}

    def matrix(layer, *shape):
        """A matrix rolled by the number of the layer, because equal matrices would be stored only once."""
        if shape not in made:
            made[shape] = random.standard_normal(shape, np.float32) * np.float32(0.02)
        return np.roll(made[shape], layer)

    spec = transformer_spec.TransformerDecoderModelSpec.from_config(
        sizes["layers"], sizes["heads"], pre_norm=True, activation=common_spec.Activation.SWISH, ffn_glu=True,
        rms_norm=True, rotary_dim=0, rotary_interleave=False, rotary_base=ROPE_THETA, num_heads_kv=kv_heads)
    decoder, ones = spec.decoder, np.ones(hidden, np.float32)
    decoder.scale_embeddings = False
    decoder.embeddings.weight = decoder.projection.weight = matrix(0, sizes["vocabulary"], hidden)
    decoder.layer_norm.gamma = ones
    together = hidden + 2 * hidden // sizes["heads"] * kv_heads
    for index, layer in enumerate(decoder.layer):
        attention, ffn = layer.self_attention, layer.ffn
        attention.layer_norm.gamma = ffn.layer_norm.gamma = ones
        attention.linear[0].weight = matrix(index, together, hidden)
        attention.linear[0].bias = np.zeros(together, np.float32)
        attention.linear[1].weight = matrix(index, hidden, hidden)
        ffn.linear_0.weight = matrix(index, inner, hidden)
        ffn.linear_0_noact.weight = matrix(sizes["layers"] + index, inner, hidden)
        ffn.linear_1.weight = matrix(index, hidden, inner)
    spec.register_vocabulary([name(token) for token in range(sizes["vocabulary"])])
    spec.config.unk_token, spec.config.bos_token, spec.config.eos_token = name(0), name(1), name(2)
    spec.config.layer_norm_epsilon = NORM_EPSILON
    spec.validate()
    spec.optimize(quantization=TYPES[kind])
    partial = f"{folder}.partial"
    os.makedirs(partial, exist_ok=True)
    spec.save(partial)
    os.rename(partial, folder)


class Language:
    def __init__(self, threads, folder):
        self.threads, self.folder = threads, folder

    def load(self, preset, weights):
        path = os.path.join(self.folder, f"ctranslate2-{preset}-{weights}")
        if not os.path.exists(path):
            make(preset, weights, path)
        kind = TYPES[weights]
        self.generator = ctranslate2.Generator(
            path, device="cpu", compute_type=kind, inter_threads=1, intra_threads=self.threads)
        self.vocabulary = LANGUAGE[preset]["vocabulary"]
        self.generate(32, 1)
        return {"version": ctranslate2.__version__, "features": self.generator.compute_type}

    def generate(self, count, tokens):
        """→ the start time of a prompt, and the time of each generated token"""
        times = [time.perf_counter()]
        # Equal minimum and maximum lengths keep the answer from ending early.
        self.generator.generate_batch(
            [[name(token) for token in prompt(count, self.vocabulary)]], max_length=tokens, min_length=tokens,
            sampling_topk=1, include_prompt_in_result=False, callback=lambda _: times.append(time.perf_counter()))
        return times

    def prefill(self, tokens):
        start, first = self.generate(tokens, 1)[:2]
        return {"value": tokens / (first - start)}

    def hold(self, after):
        """Does nothing: each decoding has its own prompt."""
        return {}

    def decode(self, after, tokens):
        _, first, *rest = self.generate(after, tokens + 1)
        return {"value": len(rest) / (rest[-1] - first)}


if __name__ == "__main__":
    language = Language(int(sys.argv[1]), sys.argv[2])
    serve({"load": language.load, "prefill": language.prefill, "hold": language.hold, "decode": language.decode})
