"""Trained stages as examples/nano/stages.py keeps them: BF16, and only what training has changed."""

import json
import subprocess
import sys
import zipfile

import numpy as np
import pytest

from support import ROOT, lyra, read_safetensors, write_safetensors

NANO = ROOT / "examples/nano"
SPEECH, VOCODER = "model_zoo/audio/whisper/model.safetensors", "model_zoo/audio/vocoder/g_00000000"


def stages(*arguments):
    return subprocess.run(
        [sys.executable, NANO / "stages.py", *map(str, arguments)], capture_output=True, text=True)


def in_bf16(numbers):
    """To nearest, ties to even."""
    bits = np.ascontiguousarray(numbers, np.float32).view(np.uint32).astype(np.uint64)
    return ((bits + 0x7FFF + (bits >> 16 & 1)) & 0xFFFF0000).astype(np.uint32).view(np.float32)


def storages(path):
    with zipfile.ZipFile(path) as archive:
        return {name: np.frombuffer(archive.read(name), np.float32)
                for name in archive.namelist() if "/data/" in name}


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """Two checkpoints; of the second, the speech tower, the vocoder and a text have changed."""
    folder = tmp_path_factory.mktemp("stages")
    for name, seed in (("start", 1), ("other", 2), ("trained", 1)):
        assert lyra("initialize", NANO / "model", "-o", folder / name, "--seed", seed).returncode == 0
    for place in (SPEECH, VOCODER):
        (folder / "trained" / place).write_bytes((folder / "other" / place).read_bytes())
    (folder / "trained/README.md").write_text("trained\n")
    return folder


def test_a_stage_is_kept_and_restored(models, tmp_path):
    kept, restored = tmp_path / "kept", tmp_path / "restored"
    assert stages("keep", models / "trained", models / "start", kept).returncode == 0
    assert sorted(str(path.relative_to(kept)) for path in kept.rglob("*") if path.is_file()) == sorted(
        ["README.md", SPEECH, VOCODER])
    names = read_safetensors(models / "trained" / SPEECH).keys()
    assert (kept / SPEECH).stat().st_size < 0.51 * (models / "trained" / SPEECH).stat().st_size + 100 * len(names)

    assert stages("restore", kept, models / "start", restored).returncode == 0
    assert (restored / "README.md").read_text() == "trained\n"
    assert (restored / "model.safetensors").read_bytes() == (models / "start/model.safetensors").read_bytes()
    start, trained, back = (
        read_safetensors(folder / SPEECH) for folder in (models / "start", models / "trained", restored))
    assert trained.keys() == back.keys()
    for name, numbers in trained.items():
        # What training leaves alone is not kept.
        wanted = numbers if np.array_equal(numbers, start[name]) else in_bf16(numbers)
        assert np.array_equal(wanted, back[name]), name
    wanted, got = storages(models / "trained" / VOCODER), storages(restored / VOCODER)
    assert wanted.keys() == got.keys() and all(np.array_equal(in_bf16(wanted[name]), got[name]) for name in wanted)
    assert lyra("inspect", restored).returncode == 0


def test_nothing_is_overwritten(models, tmp_path):
    ended = stages("keep", models / "trained", models / "start", tmp_path)
    assert ended.returncode == 1 and str(tmp_path) in ended.stderr


def test_an_adapter_and_a_file_are_kept_whole(models, tmp_path):
    adapter = tmp_path / "speech_lora"
    adapter.mkdir()
    write_safetensors(adapter / "adapter_model.safetensors", {"a": np.float32([1 / 3]), "b": np.float32([[2 / 3]])})
    (adapter / "adapter_config.json").write_text("{}\n")
    assert stages("keep", adapter, "none", tmp_path / "kept").returncode == 0
    assert stages("restore", tmp_path / "kept", "none", tmp_path / "restored").returncode == 0
    assert sorted(path.name for path in (tmp_path / "restored").iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors"]
    wanted, got = (
        read_safetensors(folder / "adapter_model.safetensors") for folder in (adapter, tmp_path / "restored"))
    assert wanted.keys() == got.keys()
    assert all(np.array_equal(in_bf16(wanted[name]), got[name]) for name in wanted)

    assert stages("keep", models / "trained" / VOCODER, "none", tmp_path / "file").returncode == 0
    assert stages("restore", tmp_path / "file", "none", tmp_path / "back").returncode == 0
    assert storages(tmp_path / "back").keys() == storages(models / "trained" / VOCODER).keys()


@pytest.mark.parametrize("arguments", [
    ("keep", "typo", "none", "out"), ("keep", "there", "typo", "out"), ("restore", "typo", "there", "out"),
    ("restore", "there", "typo", "out"), ("log", "typo", "out"),
])
def test_a_mistyped_place_is_refused(tmp_path, arguments):
    (tmp_path / "there").mkdir()
    ended = stages(arguments[0], *(each if each == "none" else tmp_path / each for each in arguments[1:]))
    assert ended.returncode == 1 and "typo: not there" in ended.stderr and not (tmp_path / "out").exists()


def test_a_log_keeps_its_validations(tmp_path):
    lines = [json.dumps({"step": step, "loss": 1 / step}) for step in range(1, 5001)]
    lines.insert(2500, json.dumps({"step": 2500, "validation_loss": 0.5}))
    (tmp_path / "log.jsonl").write_text("\n".join(lines) + "\n")
    assert stages("log", tmp_path / "log.jsonl", tmp_path / "kept.jsonl").returncode == 0
    kept = (tmp_path / "kept.jsonl").read_text().splitlines()
    assert lines[2500] in kept and kept[0] == lines[0] and kept[-1] == lines[-1] and 190 < len(kept) < 210


def test_a_layers_output_is_scaled_in_place(models, tmp_path):
    file = tmp_path / "model.safetensors"
    file.write_bytes((models / "start" / SPEECH).read_bytes())
    before = read_safetensors(file)
    layer = next(name for name in before if name.endswith("layers.0.fc1.weight")).removesuffix(".weight")
    assert stages("scale", file, layer, 0.25).returncode == 0
    after = read_safetensors(file)
    for name, numbers in before.items():
        factor = 0.25 if name in (f"{layer}.weight", f"{layer}.bias") else 1
        assert np.array_equal(after[name], numbers * np.float32(factor)), name
    ended = stages("scale", file, "layers.9", 0.25)
    assert ended.returncode == 1 and "layers.9.weight" in ended.stderr and "Traceback" not in ended.stderr
