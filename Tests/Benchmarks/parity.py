#!/usr/bin/env python3
"""Checks that PyTorch, safetensors, PEFT and transformers read what lyra writes, and compute the same from it.

    python Tests/Benchmarks/parity.py [--tool .build/lyra/bin/lyra] [--model QWEN2VL_DIR --adapter DIR...]

Runs in a Python that has torch, transformers, peft, safetensors and numpy. Without --adapter the adapters are one that
lyra writes (`make-tiny`) and those of Tests/Fixtures/qwen2vl, which PEFT wrote in each of its forms; the model is the
Qwen2-VL there. For each adapter the table has the largest difference of the scores of all tokens after each of 48
tokens, as a share of the largest score, between lyra with the adapter and

- effect: lyra without the adapter; a small number would mean that nothing is compared
- PEFT: `PeftModel.from_pretrained` on transformers' Qwen2-VL, in F32, with `KEY_MAPPING` below
- merged: the checkpoint that `lyra merge-lora --type f32` makes, in transformers
- lyra merged: the same checkpoint in lyra

and the largest difference of a merged weight from the one that PEFT's `merge_and_unload` computes. Exits with 1 if a
difference is above 1e-4, or if a file cannot be read.
"""
import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from peft import LoraConfig, PeftModel, get_peft_model
from safetensors import safe_open
from safetensors.torch import load_file
from transformers import Qwen2VLForConditionalGeneration
from transformers.utils import logging

ROOT = Path(__file__).resolve().parents[2]
QWEN = ROOT / "Tests/Fixtures/qwen2vl"
# Since 4.52 transformers calls `model.layers` `model.language_model.layers`. Versions before 5 tell PEFT so themselves.
KEY_MAPPING = {r"^model\.(?!language_model|visual)": "model.language_model."}
LIMIT = 1e-4
TOKENS = 48


def run(tool, *arguments):
    ended = subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True)
    if ended.returncode:
        sys.exit(f"lyra {' '.join(map(str, arguments))}: {ended.stderr.strip()}")


def base_model(path):
    return Qwen2VLForConditionalGeneration.from_pretrained(path, dtype=torch.float32).eval()


def scores(model, tokens):
    with torch.no_grad():
        return model(input_ids=torch.tensor([tokens])).logits[0]


def lyra_scores(tool, folder, model, tokens, *arguments):
    out = folder / "logits.safetensors"
    run(tool, "logits", "--model", model, "--tokens", ",".join(map(str, tokens)), "--out", out, *arguments)
    return load_file(out)["logits"]


def difference(got, wanted):
    return float((got - wanted).abs().max() / wanted.abs().max())


def check_files(tool, adapter, model):
    """What readers of the files need. → lines for the report"""
    lines = []
    with safe_open(adapter / "adapter_model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}, file.metadata()
        names = list(file.keys())
    assert names and all(name.startswith("base_model.model.model.layers.") for name in names)
    lines.append(f"adapter_model.safetensors: {len(names)} tensors, metadata format pt")
    projector = torch.load(adapter / "non_lora_trainables.bin", weights_only=True)
    layers = [f"linear{n}.{kind}" for n in (1, 2) for kind in ("weight", "bias")]
    assert sorted(projector) == sorted("model.model.mm_speech_projector." + layer for layer in layers)
    with tempfile.TemporaryDirectory() as folder:
        # The adapter's projector becomes the merged checkpoint's.
        run(tool, "merge-lora", adapter.parent, "--adapter", adapter.name, "--type", "f32", "-o", f"{folder}/merged")
        merged = {}
        for shard in Path(folder, "merged").glob("model-*.safetensors"):
            merged |= load_file(shard)
    for name, tensor in projector.items():
        assert torch.equal(tensor.float(), merged[name.removeprefix("model.")]), name
    lines.append(f"non_lora_trainables.bin: torch.load(weights_only=True) gives {len(projector)} tensors, lyra's numbers")
    with tempfile.TemporaryDirectory() as folder:
        config = LoraConfig(task_type="CAUSAL_LM", r=8, lora_alpha=16, target_modules=["q_proj"])
        get_peft_model(base_model(model), config).save_pretrained(folder)
        wanted = json.loads(Path(folder, "adapter_config.json").read_text())
    got = json.loads((adapter / "adapter_config.json").read_text())
    assert got.keys() == wanted.keys(), (got.keys() ^ wanted.keys())
    same = got.keys() - {"target_modules", "base_model_name_or_path", "peft_version", "auto_mapping"}
    other = {key: (got[key], wanted[key]) for key in same if got[key] != wanted[key]}
    assert not other, other
    lines.append(f"adapter_config.json: the {len(got)} keys that PEFT {wanted['peft_version']} writes")
    return lines


def compare(tool, model, adapter):
    """→ the differences of a table's row"""
    torch.manual_seed(1)
    vocabulary = json.loads((model / "config.json").read_text()).get("vocab_size", 2048)
    tokens = torch.randint(0, min(vocabulary, 2048), (TOKENS,)).tolist()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        given = ("--adapter-dir", f"test={adapter}")
        own = lyra_scores(tool, folder, model, tokens, "--adapter", "test", *given)
        plain = lyra_scores(tool, folder, model, tokens)
        peft = PeftModel.from_pretrained(base_model(model), str(adapter), key_mapping=KEY_MAPPING).eval()
        with_peft = scores(peft, tokens)
        merged = folder / "merged"
        run(tool, "merge-lora", model, *given, "--adapter", "test", "--type", "f32", "-o", merged)
        in_transformers = base_model(merged)
        weights = 0.0
        folded = peft.merge_and_unload().state_dict()
        for name, tensor in in_transformers.state_dict().items():
            weights = max(weights, float((tensor - folded[name]).abs().max()))
        return {
            "effect": difference(plain, own), "PEFT": difference(own, with_peft),
            "merged": difference(own, scores(in_transformers, tokens)),
            "lyra merged": difference(own, lyra_scores(tool, folder, merged, tokens)),
            "merged weights": weights,
        }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=ROOT / ".build/lyra/bin/lyra")
    parser.add_argument("--model", type=Path, default=QWEN / "published")
    parser.add_argument("--adapter", type=Path, action="append", help="an adapter of the model; can be repeated")
    arguments = parser.parse_args()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder:
        adapters = arguments.adapter
        if not adapters:
            # Of the fixture's widths and depth.
            run(arguments.tool, "make-tiny", f"{folder}/tiny", "--layers", 3)
            written = Path(folder, "tiny/speech_lora")
            for line in check_files(arguments.tool, written, arguments.model):
                print("-", line)
            adapters = [written] + sorted(path for path in (QWEN / "adapters").iterdir() if path.is_dir())
        rows = {adapter.name: compare(arguments.tool, arguments.model, adapter) for adapter in adapters}
    columns = list(next(iter(rows.values())))
    print(f"\n| adapter | {' | '.join(columns)} |\n|---|{'--:|' * len(columns)}")
    for name, row in rows.items():
        print(f"| {name} | {' | '.join(f'{row[column]:.1e}' for column in columns)} |")
    wrong = [name for name, row in rows.items()
             if row["effect"] < 0.01 or any(row[column] > LIMIT for column in columns[1:])]
    if wrong:
        sys.exit(f"not the same, or an adapter without effect: {', '.join(wrong)}")


if __name__ == "__main__":
    main()
