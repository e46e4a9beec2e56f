"""lyra:nano, the model inside the library, if there is one."""

from pathlib import Path

import pytest

import lyra

FILE = Path(__file__).resolve().parents[2] / "Sources/CNano/weights/nano.gguf"


def answer(model):
    with model.session(sampling="greedy", max_new_tokens=6) as session:
        session.feed_text("What is two plus two?")
        list(session.answer())
        return session.read_tokens()


def test_it_answers_like_its_file_or_is_missing():
    try:
        inside = lyra.Model("lyra:nano")
    except lyra.LyraError as error:
        assert error.code == lyra.Status.MISSING and "--traits Nano" in str(error)
        return
    with inside, lyra.Model(FILE) as outside:
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
