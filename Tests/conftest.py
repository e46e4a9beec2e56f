"""One processor for each of pytest-xdist's workers: programs that compute with several threads on processors that others
use as well would mostly wait for each other."""

import os


def pytest_configure():
    worker = os.environ.get("PYTEST_XDIST_WORKER")
    if worker is not None:
        processors = sorted(os.sched_getaffinity(0))
        os.sched_setaffinity(0, {processors[int(worker.removeprefix("gw")) % len(processors)]})
