"""A tiny checkpoint and a recording for every test; LYRA_TOOL names the command-line tool that makes the checkpoint."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import lyra

ROOT = Path(__file__).resolve().parents[2]


def make_tiny(directory, seed):
    tool = os.environ.get("LYRA_TOOL", str(ROOT / ".build/lyra/bin/lyra"))
    subprocess.run([tool, "make-tiny", str(directory), "--seed", str(seed)], check=True, capture_output=True)
    return directory


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory):
    return make_tiny(tmp_path_factory.mktemp("tiny"), seed=1)


@pytest.fixture(scope="session")
def other_checkpoint(tmp_path_factory):
    """Of the same shape, with other weights."""
    return make_tiny(tmp_path_factory.mktemp("other"), seed=2)


@pytest.fixture(scope="session")
def recording(tmp_path_factory):
    path = tmp_path_factory.mktemp("recording") / "recording.wav"
    subprocess.run([sys.executable, str(ROOT / "examples/python/make_recording.py"), str(path)], check=True)
    return path


@pytest.fixture(scope="session")
def model(checkpoint):
    with lyra.Model(checkpoint) as opened:
        yield opened


@pytest.fixture
def session(model):
    with model.session(speak=True, sampling="greedy", max_new_tokens=8) as begun:
        yield begun
