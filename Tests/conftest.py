"""Binds each of pytest-xdist's workers to a processor. On shared processors, programs with several threads would mostly
wait for each other."""

import os


def pytest_configure():
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[int(worker.removeprefix("gw")) % len(processors)]})
