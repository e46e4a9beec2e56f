"""Checkpoints that `merge-lora` makes, adapters from other directories, and the scores that `logits` writes."""

import json
import os
import resource
import shutil

import numpy as np
import pytest
from PIL import Image

from support import FIXTURES, answer, case, fails, is_wrong_usage, lyra, read_safetensors

QWEN = FIXTURES / "qwen2vl"
# "Hello! Who are you?" in the chat template, as Hugging Face's tokenizers encode it with the fixture's vocabulary.
PROMPT = [2049, 82, 612, 198, 56, 283, 525, 264, 1492, 1262, 1071, 380, 517, 13, 2050, 198, 2049, 872, 198, 39,
    301, 385, 0, 1232, 78, 525, 498, 30, 2050, 198, 2049, 395, 380, 517, 198]


def merge(model, output, *arguments, **options):
    return lyra("merge-lora", model, "-o", output, *arguments, **options)


def towers(variant):
    return "--towers", FIXTURES / variant / "model_zoo"


@pytest.mark.parametrize("variant", ["a", "b"])
def test_a_merged_model_answers_speech_as_the_reference_with_the_adapter(variant, recordings, tmp_path):
    merged = tmp_path / "merged"
    ended = merge(FIXTURES / variant / "lyra", merged, "--adapter", "speech", "--type", "f32", *towers(variant))
    assert (ended.returncode, ended.stdout) == (0, "")
    note, last = ended.stderr.splitlines()
    assert note.startswith("note: ") and "long_speech" in note and last.startswith(f"wrote {merged}: linked ")
    file = tmp_path / "merged.gguf"
    assert lyra("convert", merged, "-o", file, "--type", "f32").returncode == 0
    for model in (merged, file):
        ended = lyra("generate", "--model", model, "--audio", recordings[f"{variant}_short"], "--prompt",
                     "What is said?", "--temperature", 0, "--max-tokens", 12, "--json")
        got = json.loads(ended.stdout)
        assert got["token_ids"] == case(variant, "turn_speech")["out.ids"].tolist() and got["adapter"] == "none"


@pytest.mark.parametrize("adapter", ["plain", "pickled_rslora", "patterns", "whole_modules"])
def test_a_merged_qwen2vl_answers_as_peft_with_the_adapter(adapter, tmp_path):
    answers = read_safetensors(QWEN / "answers.safetensors")
    Image.fromarray(np.ascontiguousarray(answers["picture"])).save(tmp_path / "picture.png")
    given = ("--adapter-dir", f"test={QWEN / 'adapters' / adapter}")
    assert merge(QWEN / "published", tmp_path / "merged", *given, "--adapter", "test", "--type", "f32").returncode == 0
    for model in ((tmp_path / "merged",), (QWEN / "published", *given, "--adapter", "test")):
        got = answer("--model", *model, "--image", tmp_path / "picture.png", "--prompt", "Describe it.")
        assert got["token_ids"] == answers[f"adapter.{adapter}.ids"].tolist()


def test_logits_are_transformers(tmp_path):
    """The first scores after the prompt about text; both compute in F32, and a wrong weight shows in the first digit."""
    answers = read_safetensors(QWEN / "answers.safetensors")
    out = tmp_path / "logits.safetensors"
    ended = lyra("logits", "--model", QWEN / "published", "--tokens", ",".join(map(str, PROMPT)), "--out", out)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    got, want = read_safetensors(out)["logits"], answers["published.text.first_logits"]
    assert got.shape == (len(PROMPT), len(want)) and np.abs(got[-1] - want).max() < 1e-4 * np.abs(want).max()
    fails(lyra("logits", "--model", QWEN / "published", "--tokens", "99999", "--out", out), "99999")
    fails(lyra("logits", "--model", QWEN / "published", "--tokens", "1", "--adapter", "x", "--out", out), '"x"')
    is_wrong_usage(lyra("logits", "--model", QWEN / "published", "--tokens", "1,,2", "--out", out), "--tokens")


def test_an_adapter_from_another_directory_replaces_the_checkpoints(recordings, tmp_path):
    shutil.copytree(FIXTURES / "a/lyra", tmp_path / "lyra")
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "lyra/speech_lora", moved)
    model = ("--model", tmp_path / "lyra", *towers("a"), "--adapter-dir", f"speech={moved}")
    got = answer(*model, "--audio", recordings["a_short"], "--prompt", "What is said?")
    assert got["token_ids"] == case("a", "turn_speech")["out.ids"].tolist() and got["adapter"] == "speech"
    listed = json.loads(lyra("inspect", tmp_path / "lyra", *model[2:], "--json").stdout)
    assert [part["source"] for part in listed["parts"] if part["name"] == "adapter speech"] == [str(moved)]
    fails(lyra("generate", "--prompt", "x", *model[:-1], "speech=/nope"), "/nope")
    for value in ("speech", "=dir", "speech="):
        is_wrong_usage(lyra("generate", "--prompt", "x", *model[:-1], value), "--adapter-dir")


# ------------------------------------------------------------------------------------------------------------- failures


def test_what_cannot_be_merged_is_named_and_nothing_stays(tmp_path):
    made = tmp_path / "made"
    fails(merge(FIXTURES / "a/lyra", made, "--adapter", "nobody"), "nobody", "long_speech")
    file = tmp_path / "model.gguf"
    assert lyra("convert", FIXTURES / "a/lyra", "-o", file, "--type", "q8_0").returncode == 0
    fails(merge(file, made, "--adapter", "speech"), file, "one-file model")
    is_wrong_usage(merge(FIXTURES / "a/lyra", made, "--adapter", "speech", "--type", "q8_0"), "--type")
    fails(merge(FIXTURES / "a/lyra", tmp_path, "--adapter", "speech"), tmp_path, "empty directory")
    assert os.listdir(tmp_path) == ["model.gguf"]


def test_a_full_disk_leaves_nothing(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    ended = merge(FIXTURES / "a/lyra", tmp_path / "made", "--adapter", "speech", *towers("a"), preexec_fn=limit)
    assert ended.returncode == 1 and "File too large" in ended.stderr.splitlines()[-1]
    assert os.listdir(tmp_path) == []
