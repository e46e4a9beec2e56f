"""The messages of the log callback."""

import numpy as np

import lyra


def messages(checkpoint, *pieces):
    """One turn of a recording that comes in pieces. → the messages of the session, in order"""
    logged = []
    with lyra.Model(checkpoint, log=lambda level, message: logged.append((level, message))) as model:
        logged.clear()
        with model.session(sampling="greedy", max_new_tokens=2) as session:
            for piece in pieces:
                session.feed_audio(piece, 16000, more=True)
                while session.work_ahead():
                    pass
            session.feed_audio([], 16000)
            session.feed_text("What?")
            assert isinstance(list(session.answer())[-1], lyra.End)
    return logged


def test_a_silent_microphone_is_logged_at_its_end(checkpoint):
    quiet = np.zeros(8000, np.float32)
    logged = messages(checkpoint, quiet, quiet, quiet)
    assert len(logged) == 1 and "recording 1 of the turn is silent" in logged[0][1]
    loud = quiet.copy()
    loud[4000] = 0.5
    assert messages(checkpoint, quiet, loud, quiet) == []


def test_opened_models_and_discarded_turns_are_logged_as_info(checkpoint):
    logged = []
    with lyra.Model(checkpoint, log=lambda level, message: logged.append((level, message)), threads=1) as model:
        assert [level for level, _ in logged] == ["info"] and str(checkpoint) in logged[0][1]
        assert "opened" in logged[0][1] and "on 1 threads" in logged[0][1]
        with model.session() as session:
            session.feed_text("What?")
            session.cancel()
            session.feed_text("And this?")
    assert [level for level, _ in logged] == ["info", "info"] and "cancelled" in logged[1][1]
