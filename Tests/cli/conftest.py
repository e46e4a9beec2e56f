"""Recordings and checkpoints that several tests use."""

import json
import shutil
import struct
import subprocess

import numpy as np
import pytest
from PIL import Image

from support import END_TOKENS, FIXTURES, case, lyra, write_wav


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    """A checkpoint that make-tiny wrote."""
    directory = tmp_path_factory.mktemp("tiny") / "made"
    assert lyra("make-tiny", directory, "--seed", 1).returncode == 0
    return directory


@pytest.fixture(scope="session")
def recordings(tmp_path_factory):
    """The paths of "a_short", "a_long", "b_short" and "b_long": 7 s of sound, and 71 s (three windows), the 7 s
    repeated with rising volume."""
    directory, paths = tmp_path_factory.mktemp("recordings"), {}
    for variant in ("a", "b"):
        short = case(variant, "speech_short")["in.pcm"]
        long = np.resize(short, 71 * 16000) * np.linspace(0.2, 1, 71 * 16000).astype(np.float32)
        for name, samples in (("short", short), ("long", long)):
            paths[f"{variant}_{name}"] = directory / f"{variant}_{name}.wav"
            write_wav(paths[f"{variant}_{name}"], samples)
    return paths


@pytest.fixture(scope="session")
def pictures(tmp_path_factory):
    """The paths of "a_small", "a_tall", "b_small" and "b_tall": PNGs of 150 × 90 and 60 × 360 pixels."""
    directory, paths = tmp_path_factory.mktemp("pictures"), {}
    for variant in ("a", "b"):
        small = case(variant, "image_small")["in.rgb"]
        for name, pixels in (("small", small), ("tall", np.tile(small, (4, 1, 1))[:, :60])):
            paths[f"{variant}_{name}"] = directory / f"{variant}_{name}.png"
            Image.fromarray(np.ascontiguousarray(pixels)).save(paths[f"{variant}_{name}"])
    return paths


@pytest.fixture(scope="session")
def clip(tmp_path_factory):
    """A video of 4 s that the ffmpeg command makes."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    moving = "testsrc=duration=4:size=56x56:rate=4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", moving, "-pix_fmt", "yuv420p", path], check=True)
    return path


@pytest.fixture(scope="session")
def endless(tmp_path_factory):
    """A copy of fixture b whose answers never end by themselves: end tokens always score 0, below the best token."""
    directory = tmp_path_factory.mktemp("endless") / "b"
    shutil.copytree(FIXTURES / "b", directory, ignore=shutil.ignore_patterns("cases"))
    index = json.loads((directory / "lyra/model.safetensors.index.json").read_text())
    shard = directory / "lyra" / index["weight_map"]["lm_head.weight"]
    data = bytearray(shard.read_bytes())
    (length,) = struct.unpack("<Q", data[:8])
    entry = json.loads(data[8:8 + length])["lm_head.weight"]
    start, end = (8 + length + offset for offset in entry["data_offsets"])
    row = (end - start) // entry["shape"][0]
    for token in END_TOKENS:
        data[start + token * row:start + (token + 1) * row] = bytes(row)
    shard.write_bytes(data)
    return "--model", directory / "lyra", "--towers", directory / "model_zoo"


@pytest.fixture(scope="session")
def bare(tmp_path_factory):
    """A copy of fixture b's checkpoint that finds neither a speech tower nor a vocoder."""
    directory = tmp_path_factory.mktemp("bare") / "deep/er/lyra"
    shutil.copytree(FIXTURES / "b/lyra", directory)
    return directory
