"""Answers that are generated together equal those of each session alone."""

from array import array

import pytest

import lyra

QUESTIONS = ["What is said?", "Hello!", "Who is there?", "Where?"]


def begin(model, recording, question, **options):
    session = model.session(sampling="greedy", max_new_tokens=8, **{"speak": True, **options})
    if len(question) % 2:
        session.feed_audio(recording)
    session.feed_text(question)
    return session


def collected(pairs):
    """→ by session: text, samples, and what ended it"""
    found = {}
    for session, event in pairs:
        text, samples, _ = found.setdefault(session, ["", array("f"), None])
        if isinstance(event, lyra.Text):
            found[session][0] += event.text
        elif isinstance(event, lyra.Audio):
            samples.extend(event.samples)
        elif not isinstance(event, lyra.Progress):
            assert found[session][2] is None
            found[session][2] = event
    return found


def run(together):
    while together:
        yield from together.step()


def test_every_answer_is_that_of_the_session_alone(model, recording):
    together = lyra.Together()
    sessions = [begin(model, recording, question) for question in QUESTIONS]
    for session in sessions[:3]:
        together.add(session)
    pairs = together.step()
    together.add(sessions[3])
    assert len(together) == 4
    found = collected(pairs + list(run(together)))
    for session, question in zip(sessions, QUESTIONS):
        text, samples, end = found[session]
        assert isinstance(end, lyra.End) and end.usage.stop in (lyra.StopReason.EOS, lyra.StopReason.LENGTH)
        with begin(model, recording, question) as alone:
            want = collected((alone, event) for event in alone.answer())[alone]
        assert text == want[0] and len(samples) == len(want[1]) > 0
        assert max(abs(a - b) for a, b in zip(samples, want[1])) < 1e-4
        # The session goes on alone.
        session.feed_text("And then?")
        assert isinstance(list(session.answer())[-1], lyra.End)
        session.close()


def test_one_that_fails_leaves_the_others_alone(model, recording):
    together = lyra.Together()
    good, small = begin(model, recording, "Hello!"), begin(model, recording, "Hello!", max_memory_bytes=1000)
    for session in (small, good):
        together.add(session)
    found = collected(run(together))
    assert isinstance(found[small][2], lyra.LyraError) and found[small][2].code == lyra.Status.MEMORY
    assert "max_memory_bytes" in str(found[small][2]) and "session 0" not in str(found[small][2])
    assert isinstance(found[good][2], lyra.End)


def test_a_file_object_that_fails_raises_its_own_exception(model, recording):
    class Broken:
        def __init__(self):
            self.file = open(recording, "rb")

        def seekable(self):
            return True

        def seek(self, *where):
            return self.file.seek(*where)

        def tell(self):
            return self.file.tell()

        def read(self, count=-1):
            if self.file.tell() > 4000:
                raise OSError("the disk is gone")
            return self.file.read(count)

    together = lyra.Together()
    good, bad = begin(model, recording, "Hello!"), model.session(max_new_tokens=8)
    try:
        bad.feed_audio(Broken())
    except OSError:
        pytest.skip("the recording was read at once")
    together.add(good)
    together.add(bad)
    found = collected(run(together))
    assert isinstance(found[good][2], lyra.End)
    assert isinstance(found[bad][2], (OSError, lyra.LyraError, lyra.End))


def test_removing_stops_and_keeps_the_text(model, recording):
    together = lyra.Together()
    first, second = begin(model, recording, "Hello!"), begin(model, recording, "Where?")
    for session in (first, second):
        together.add(session)
    while not first.read_tokens():
        together.step()
    together.remove(first)
    assert first.usage.stop == lyra.StopReason.STOPPED and len(together) == 1
    assert isinstance(collected(run(together))[second][2], lyra.End)


def test_what_is_refused(model, other_checkpoint, recording):
    together = lyra.Together()
    assert together.step() == []
    with pytest.raises(lyra.LyraError) as error:
        together.add(model.session())
    assert error.value.code == lyra.Status.STATE
    with lyra.Model(other_checkpoint) as other:
        one, two = begin(model, recording, "Hello!"), begin(other, recording, "Hello!")
        together.add(one)
        together.add(two)
        with pytest.raises(lyra.LyraError) as error:
            together.step()
        assert error.value.code == lyra.Status.ARGUMENT and "different models" in str(error.value)
        together.remove(two)
        assert isinstance(collected(run(together))[one][2], lyra.End)
    with pytest.raises(ValueError):
        together.remove(one)
