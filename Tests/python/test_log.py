"""The messages of the log callback."""

import numpy as np

import lyra


def messages(checkpoint, *pieces):
    """One turn of a recording that comes in pieces. → the messages of the session, in order"""
    told = []
    with lyra.Model(checkpoint, log=lambda level, message: told.append((level, message))) as model:
        told.clear()
        with model.session(sampling="greedy", max_new_tokens=2) as session:
            for piece in pieces:
                session.feed_audio(piece, 16000, more=True)
                while session.work_ahead():
                    pass
            session.feed_audio([], 16000)
            session.feed_text("What?")
            assert isinstance(list(session.answer())[-1], lyra.End)
    return told


def test_a_silent_microphone_is_logged_at_its_end(checkpoint):
    quiet = np.zeros(8000, np.float32)
    told = messages(checkpoint, quiet, quiet, quiet)
    assert len(told) == 1 and "recording 1 of the turn is silent" in told[0][1]
    heard = quiet.copy()
    heard[4000] = 0.5
    assert messages(checkpoint, quiet, heard, quiet) == []


def test_opened_models_and_discarded_turns_are_logged_as_info(checkpoint):
    told = []
    with lyra.Model(checkpoint, log=lambda level, message: told.append((level, message)), threads=1) as model:
        assert [level for level, _ in told] == ["info"] and str(checkpoint) in told[0][1]
        assert "opened" in told[0][1] and "on 1 threads" in told[0][1]
        with model.session() as session:
            session.feed_text("What?")
            session.cancel()
            session.feed_text("And this?")
    assert [level for level, _ in told] == ["info", "info"] and "cancelled" in told[1][1]
