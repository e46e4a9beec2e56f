"""A small random checkpoint for every test."""

import pytest
from tool import run


@pytest.fixture(scope="session")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("tiny") / "model"
    assert run("make-tiny", path, "--seed", 7).returncode == 0
    return path
