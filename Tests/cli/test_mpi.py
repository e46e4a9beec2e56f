"""Training in several processes over MPI."""

import ctypes.util
import json
import os
import re
import shutil
import subprocess

import numpy as np
import pytest

from support import TOOL, fails, lyra, read_safetensors

HAS_LIBRARY = any(map(ctypes.util.find_library, ("mpi", "mpich")))
# Debian's mpirun is a link to that of Open MPI or of MPICH, which also have names of their own.
LAUNCHERS = [name for name in ("mpirun.openmpi", "mpirun.mpich") if shutil.which(name)]
if not LAUNCHERS and shutil.which("mpirun"):
    LAUNCHERS = ["mpirun"]
needs_mpi = pytest.mark.skipif(not LAUNCHERS, reason="MPI is not installed")


def mpirun(launcher, *programs):
    """Runs programs together: for each the number of processes and lyra's arguments. → the ended launcher"""
    environment = dict(os.environ, OMPI_ALLOW_RUN_AS_ROOT="1", OMPI_ALLOW_RUN_AS_ROOT_CONFIRM="1")
    command = [launcher]
    version = subprocess.check_output([launcher, "--version"], text=True)
    if "OpenRTE" in version or "Open MPI" in version:
        # More processes than processors, which a test's worker is bound to.
        command += ["--oversubscribe", "--bind-to", "none"]
    for index, (count, *arguments) in enumerate(programs):
        command += [":"] * (index > 0) + ["-n", str(count), TOOL, *arguments]
    return subprocess.run(
        command, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", timeout=100)


# Each process compares its sums with the numbers that it expects, among them those of parameters that only one process
# or none uses, and fails otherwise.
@needs_mpi
@pytest.mark.parametrize("launcher", LAUNCHERS)
@pytest.mark.parametrize("count", [2, 3])
def test_processes_sum_gradients(launcher, count):
    ended = mpirun(launcher, (count, "bench", "processes", "--megabytes", "10", "--repetitions", "1", "--json"))
    assert ended.returncode == 0, ended
    report = json.loads(ended.stdout)  # of one process
    assert report["processes"] == count and report["megabytes"] == 10
    assert re.match("Open MPI|MPICH", report["library"]) and report["megabytes_per_second"] > 0


# 10 TB of gradients fail in process 1, while process 0 waits for it.
@needs_mpi
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_an_error_in_one_process_ends_all(launcher):
    ended = mpirun(
        launcher, (1, "bench", "processes"), (1, "bench", "processes", "--megabytes", "10000000"))
    assert ended.returncode != 0 and ended.stdout == "", ended
    assert re.search("^lyra: process 1 of 2: no memory for .*$", ended.stderr, re.M), ended
    assert "process 0 of 2" not in ended.stderr


@needs_mpi
def test_processes_that_do_not_find_each_other_are_told_so():
    # As if started by the mpirun of another library.
    ended = lyra("bench", "processes", env=dict(os.environ, OMPI_COMM_WORLD_SIZE="5"))
    fails(ended, "5 processes were started", "finds 1", "mpirun")


@pytest.mark.skipif(HAS_LIBRARY, reason="MPI is installed")
def test_the_missing_library_is_named():
    fails(lyra("bench", "processes", "--mpi"), "libmpi.so.40", "libopenmpi3")


def test_one_process_alone_needs_no_mpi():
    fails(lyra("bench", "processes"), "there is one process", "mpirun -n 2")


# Answers of unequal lengths, the second without a transcript. The first moment of AdamW after one update is a tenth of
# the gradient, which both runs clip alike.
@needs_mpi
@pytest.mark.parametrize("launcher", LAUNCHERS)
def test_processes_have_the_gradient_of_the_joined_batch(launcher, recordings, tmp_path):
    assert lyra("make-tiny", tmp_path / "tiny", "--seed", 2, "--layers", 2).returncode == 0
    (tmp_path / "recipe.toml").write_text("[adapter]\ndropout = 0.0\n")
    answers = ("Yes.", "An answer that has many more tokens than the other one.")
    items = [
        {"id": answer, "speech": str(recordings["a_short"]), "conversations": [
            {"from": "human", "value": "What is said?"}, {"from": "gpt", "value": answer}]}
        for answer in answers]
    items[0]["speech_asr"] = "nothing at all"
    (tmp_path / "data.json").write_text(json.dumps(items))

    def train(out, batch):
        return tuple(map(str, (
            "train", "--stage", 2, "--recipe", tmp_path / "recipe.toml", "--model", tmp_path / "tiny", "--data",
            tmp_path / "data.json", "--steps", 1, "--threads", 1, "--batch", batch, "--out", tmp_path / out)))

    assert lyra(*train("joined", 2)).returncode == 0
    ended = mpirun(launcher, (2, *train("divided", 1)))
    assert ended.returncode == 0, ended
    joined, divided = (
        read_safetensors(tmp_path / out / "states/step-000000001.safetensors") for out in ("joined", "divided"))
    moments = [name for name in joined if name.startswith("first.")]
    assert any("lora_B" in name for name in moments) and joined.keys() == divided.keys()
    for name in moments:
        # The order of the F32 sums differs. Of seeds 1 to 6, only 1 has more than 7e-6: 1.3e-5, in a matrix of queries
        # whose gradient is a small difference of large numbers.
        assert np.abs(joined[name] - divided[name]).max() <= 1e-5 * np.abs(joined[name]).max(), name
    logs = [json.loads((tmp_path / out / "log.jsonl").read_text().splitlines()[0]) for out in ("joined", "divided")]
    assert logs[0]["examples"] == logs[1]["examples"] == 2 and logs[0]["lcmr"] > 0
    assert logs[1]["loss"] == pytest.approx(logs[0]["loss"], rel=1e-6)
