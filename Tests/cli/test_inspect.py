"""The output of `inspect`."""

import json

import numpy as np
import pytest

from support import FIXTURES, lyra, model_of, write_safetensors

# Counted by hand from the configurations: layers, hidden size, heads, key and value heads, vocabulary.
SIZES = {"a": (8, 64, 4, 2, 2068), "b": (6, 96, 6, 3, 2062)}


def inspect(model, *arguments):
    ended = lyra("inspect", model, "--json", *arguments)
    assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout.count("\n") == 1
    return json.loads(ended.stdout)


@pytest.mark.parametrize("variant", SIZES)
def test_a_whole_checkpoint_is_described(variant):
    model = FIXTURES / variant / "lyra"
    got = inspect(model)
    assert list(got) == ["model", "facts", "parts", "adapters", "missing"]
    assert got["model"] == str(model)
    names = ("layers", "hidden_size", "heads", "kv_heads", "vocabulary_size")
    assert tuple(got["facts"][name] for name in names) == SIZES[variant]
    assert got["facts"]["context_length"] == 32768 and got["facts"]["audio_sample_rate"] == 16000
    # A window of 30 s has 1500 encoder positions; a takes 5 of them as one token, b takes 3.
    assert got["facts"]["speech_window_seconds"] == 30
    assert got["facts"]["speech_window_tokens"] == {"a": 300, "b": 500}[variant]
    assert got["facts"]["audio_lookahead_samples"] > 0 and got["facts"]["vision_token_pixels"] == 28
    assert sorted(got["adapters"]) == ["long_speech", "speech"] and got["missing"] == []
    for part in got["parts"]:
        assert list(part) == ["name", "source", "parameters", "bytes", "types"]
        assert part["parameters"] > 0 and part["bytes"] > 0 and part["source"] and sum(part["types"].values()) > 0


def test_the_number_of_parameters_follows_from_the_configuration():
    config = json.loads((FIXTURES / "b/lyra/config.json").read_text())
    hidden, inner, heads, kv = (
        config[name] for name in ("hidden_size", "intermediate_size", "num_attention_heads", "num_key_value_heads"))
    width = hidden // heads * kv
    layer = 2 * hidden * hidden + hidden + 2 * (hidden * width + width) + 3 * hidden * inner + 2 * hidden
    want = config["num_hidden_layers"] * layer + 2 * config["vocab_size"] * hidden + hidden
    part = next(part for part in inspect(FIXTURES / "b/lyra")["parts"] if part["name"] == "language model")
    assert (part["parameters"], part["bytes"], list(part["types"])) == (want, 2 * want, ["BF16"])


def test_missing_parts_are_listed(bare):
    got = inspect(bare)
    names = ("whisper-tiny", "Qwen2VL_tiny_ViT", "imagebind_tiny.pth", "vocoder")
    assert len(got["missing"]) == len(names)
    assert all(name in why for name, why in zip(names, got["missing"]))
    assert "audio_sample_rate" not in got["facts"]
    table = lyra("inspect", bare).stdout.splitlines()
    assert [line for line in table if line.startswith("missing: ")] == ["missing: " + why for why in got["missing"]]


def test_named_towers_are_not_missing(bare):
    assert inspect(bare, *model_of("b")[2:])["missing"] == []


def test_the_vocoder_can_be_named_alone(bare):
    vocoder = FIXTURES / "b/model_zoo/audio/vocoder"
    for path in (vocoder, vocoder / "g_00500000"):
        missing = inspect(bare, "--vocoder", path)["missing"]
        assert len(missing) == 3 and not any("vocoder" in why for why in missing)


def test_the_table_has_a_line_for_every_part(tiny):
    ended = lyra("inspect", tiny)
    assert (ended.returncode, ended.stderr) == (0, "")
    lines = ended.stdout.splitlines()
    for part in inspect(tiny)["parts"]:
        (line,) = (line for line in lines if line.startswith(part["name"] + "  "))
        assert str(part["parameters"]) in line and part["source"] in line
    assert lines[-1] == "nothing is missing"


def test_only_the_used_tensors_of_a_sound_projector_count(tiny, tmp_path):
    file = tmp_path / "projector.safetensors"
    write_safetensors(file, {
        "model.mm_audio_projector.weight": np.zeros((64, 24), np.float32),
        "model.mm_audio_projector.bias": np.zeros(64, np.float32), "model.other": np.zeros(1000, np.float32)})
    parts = inspect(tiny, "--sound-projector", file)["parts"]
    (part,) = (part for part in parts if part["source"] == str(file))
    assert (part["name"], part["parameters"], part["types"]) == ("sound projector", 64 * 24 + 64, {"F32": 2})
