"""lyra:nano, the model inside the library."""

import os
from pathlib import Path

import pytest

import lyra

IS_ABSENT = os.environ.get("LYRA_NANO") == "absent"
FILE = Path(__file__).resolve().parents[2] / "Sources/CNano/weights/nano.gguf"


def answer(model):
    with model.session(sampling="greedy", max_new_tokens=6) as session:
        session.feed_text("What is two plus two?")
        list(session.answer())
        return session.read_tokens()


@pytest.mark.skipif(not IS_ABSENT, reason="the library was built with Nano")
def test_a_library_without_it_says_how_to_get_it():
    with pytest.raises(lyra.LyraError, match="package trait Nano") as caught:
        lyra.Model("lyra:nano")
    assert caught.value.code == lyra.Status.MISSING


@pytest.mark.skipif(IS_ABSENT, reason="the library was built without Nano")
def test_it_answers_like_its_file():
    with lyra.Model("lyra:nano") as inside, lyra.Model(FILE) as outside:
        assert len(answer(inside)) > 0 and answer(inside) == answer(outside)
        assert inside.info == outside.info


def test_no_other_model_is_inside():
    with pytest.raises(lyra.LyraError, match="lyra:mini") as caught:
        lyra.Model("lyra:mini")
    assert caught.value.code == lyra.Status.ARGUMENT


def test_a_path_is_never_a_name():
    with pytest.raises(lyra.LyraError, match=r"\./lyra:nano: there is no such file") as caught:
        lyra.Model(Path("lyra:nano"))
    assert caught.value.code == lyra.Status.MISSING
