#!/usr/bin/env python3
"""How far rounding moves the language model's scores: for every weight type, precision and kernel, beside llama.cpp.

    accuracy.py                       # the fixtures, and a model in Lyra_Mini_3B's shape
    accuracy.py --layers 4            # the same with fewer layers
    accuracy.py --isa avx2 avx512     # only these instruction sets

Every type is a file of its own, which lyra and llama.cpp both read. The reference is the same file with its weights
widened to F32, in lyra's exact precision. The error is the root mean square of the differences of all scores after each
of 48 tokens, relative to that of the reference's scores. Needs numpy; with llama-cpp-python, llama.cpp's column
is filled. `compare.py --help` names the environment that has them.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np

from environment import field
from shape import LANGUAGE, prompt

ROOT = Path(__file__).resolve().parents[2]
TYPES = ("bf16", "q8_0", "q4_0", "q4_k_m")
# What LYRA_ISA may name, and what the processor then needs.
ISAS = {
    "generic": set(), "avx2": {"avx2"}, "avxvnni": {"avx_vnni"}, "avx512": {"avx512f"}, "avx512vnni": {"avx512_vnni"},
    "avx512bf16": {"avx512_bf16"}, "amx": {"amx_tile"},
}
TOKENS = 48


class Tool:
    def __init__(self, path, threads, folder):
        self.path, self.threads, self.folder = path, threads, folder

    def must(self, *arguments, **variables):
        ended = subprocess.run(
            [self.path, *map(str, arguments)], capture_output=True, text=True, env=os.environ | variables)
        if ended.returncode != 0:
            sys.exit(f"accuracy.py: lyra {arguments[0]}: {ended.stderr.strip()}")

    def convert(self, model, name, kind):
        """The language model of `model` in one file of the type."""
        made = self.folder / f"{name}-{kind}.gguf"
        if not made.exists():
            self.must("convert", model, "-o", made, "--type", kind, "--part", "llm")
        return made

    def scores(self, model, tokens, precision, isa=None):
        out = self.folder / "scores.safetensors"
        self.must(
            "logits", "--model", model, "--tokens", ",".join(map(str, tokens)), "--precision", precision, "--threads",
            self.threads, "--out", out, **({"LYRA_ISA": isa} if isa else {}))
        return single_tensor(out)


def single_tensor(path):
    """The F32 tensor of a safetensors file that has one."""
    data = path.read_bytes()
    size = int.from_bytes(data[:8], "little")
    (entry,) = (value for key, value in json.loads(data[8:8 + size]).items() if key != "__metadata__")
    return np.frombuffer(data[8 + size:], "<f4").reshape(entry["shape"])


def llama_scores(model, tokens, threads):
    """llama.cpp's scores; None without llama-cpp-python."""
    try:
        import llama_cpp
    except ImportError:
        return None
    loaded = llama_cpp.Llama(
        model_path=str(model), n_ctx=256, n_threads=threads, n_threads_batch=threads, logits_all=True, verbose=False)
    loaded.eval(tokens)
    return np.array(loaded.scores[:len(tokens)], np.float32)


def error(got, wanted):
    if got is None:
        return ""
    difference = np.sqrt(np.mean((got.astype(np.float64) - wanted) ** 2))
    return f"{difference / np.sqrt(np.mean(wanted.astype(np.float64) ** 2)):.1e}"


def models(tool, layers):
    """→ (name, what lyra converts, number of token ids)"""
    for fixture in ("a", "b"):
        yield f"fixture {fixture}", ROOT / f"Tests/Fixtures/{fixture}/lyra", 2048
    made = tool.folder / f"mini-{layers}-layers"
    if not made.exists():
        partial = made.with_suffix(".partial")
        shutil.rmtree(partial, ignore_errors=True)
        tool.must("make-tiny", partial, "--preset", "mini", "--layers", layers)
        partial.rename(made)
    yield f"Mini's shape, {layers} layers", made, LANGUAGE["mini"]["vocabulary"]


def rows(tool, isas, layers):
    for name, model, vocabulary in models(tool, layers):
        tokens = prompt(TOKENS, vocabulary)
        for kind in TYPES:
            file = tool.convert(model, name.replace(" ", "-").replace(",", ""), kind)
            wide = tool.folder / "reference.gguf"
            tool.must("convert", file, "-o", wide, "--type", "f32", "--part", "llm")
            wanted = tool.scores(wide, tokens, "exact")
            wide.unlink()
            fast = (error(tool.scores(file, tokens, "fast", isa), wanted) for isa in isas)
            yield (
                name, kind.upper(), error(tool.scores(file, tokens, "exact"), wanted), *fast,
                error(llama_scores(file, tokens, tool.threads), wanted))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", type=Path, default=ROOT / ".build/lyra/bin/lyra")
    parser.add_argument("--folder", type=Path, default=ROOT / ".build/accuracy", help="for the files")
    flags = set((field("/proc/cpuinfo", "flags") or "").split())
    present = [isa for isa, needed in ISAS.items() if needed <= flags]
    parser.add_argument("--isa", nargs="+", choices=present, default=present)
    parser.add_argument("--layers", type=int, default=LANGUAGE["mini"]["layers"])
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    options = parser.parse_args()
    options.folder.mkdir(parents=True, exist_ok=True)
    tool = Tool(options.tool, options.threads, options.folder)
    head = ("model", "weights", "exact", *(f"fast, {isa}" for isa in options.isa), "llama.cpp")
    print(f"| {' | '.join(head)} |\n|---|---|{'--:|' * (len(head) - 2)}")
    for row in rows(tool, options.isa, options.layers):
        print(f"| {' | '.join(row)} |", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
