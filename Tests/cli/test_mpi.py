"""Training in several processes over MPI."""

import ctypes.util
import json
import os
import re
import shutil
import subprocess

import pytest

from support import TOOL, fails, lyra

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
