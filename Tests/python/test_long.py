"""Long recordings in Python: work ahead, saved conversations, the extractor, limits."""

import re
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import lyra

RATE = 16_000
SECONDS = 71
WINDOWS = 3
OPTIONS = dict(sampling="random", seed=7, max_new_tokens=8)


def noise(seed):
    """71 s of noise that swells and fades, in three windows."""
    samples = np.random.default_rng(seed).uniform(-0.5, 0.5, SECONDS * RATE)
    return (samples * (np.arange(len(samples)) % 5000 / 5000)).astype(np.float32)


def answer(session, question="Summarize."):
    session.feed_text(question)
    for event in session.answer():
        if isinstance(event, lyra.End):
            assert event.usage == replace(session.usage, total_ms=event.usage.total_ms)
    return session.read_tokens()


def refused(code, work, *arguments, **named):
    with pytest.raises(lyra.LyraError) as caught:
        work(*arguments, **named)
    assert caught.value.code == code
    return str(caught.value)


@pytest.fixture(scope="module")
def samples():
    return noise(1)


@pytest.fixture(scope="module")
def expected(model, samples):
    """The answer to the whole recording. Another recording has another answer, so that equality is significant."""
    answers = []
    for recording in (samples, noise(2)):
        with model.session(**OPTIONS) as session:
            session.feed_audio(recording, RATE)
            answers.append(answer(session))
    assert answers[0] and answers[0] != answers[1]
    return answers[0]


@pytest.fixture
def long_session(model):
    with model.session(**OPTIONS) as begun:
        yield begun


# ----------------------------------------------------------------------------------------------------- working ahead


def test_pieces_with_work_ahead_between_give_the_same_answer(long_session, samples, expected):
    worked = 0
    for start in range(0, len(samples), 4000):
        long_session.feed_audio(samples[start : start + 4000], RATE, more=True)
        while long_session.work_ahead():
            worked += 1
    assert worked > 0 and long_session.usage.cache_bytes > 0
    assert answer(long_session) == expected


def test_work_ahead_needs_a_turn_that_is_being_fed(long_session, samples):
    refused(lyra.Status.STATE, long_session.work_ahead)
    long_session.feed_text("Hello!")
    assert long_session.work_ahead() is False, "text is complete only when the turn ends"
    answering = long_session.answer()
    next(answering)
    assert "answer" in refused(lyra.Status.STATE, long_session.work_ahead)
    assert isinstance(list(answering)[-1], lyra.End), "the answer is complete"
    long_session.feed_audio(samples, RATE, more=True)
    assert long_session.work_ahead() is True
    long_session.reset()
    refused(lyra.Status.STATE, long_session.work_ahead)


def test_work_ahead_can_follow_a_turn_that_is_left_early_or_reset(long_session, samples):
    for leave in (lambda: None, long_session.reset):
        long_session.feed_text("Hello!")
        for _ in long_session.answer():
            leave()
            break
        long_session.feed_audio(samples, RATE)
        assert long_session.work_ahead() is True
        long_session.reset()


# ------------------------------------------------------------------------------------------------------------ saving


@pytest.fixture
def state(long_session, samples, tmp_path):
    """The state of a prefilled recording, before the question."""
    path = tmp_path / "recording.state"
    long_session.feed_audio(samples, RATE)
    while long_session.work_ahead():
        pass
    long_session.save(path)
    return path


def test_a_recording_is_computed_once_and_asked_about_many_times(model, long_session, state, expected):
    assert answer(long_session) == expected, "saving changes nothing"
    with model.session(**OPTIONS) as other:
        for _ in range(2):
            other.restore(str(state))
            assert [medium.tokens for medium in other.media()] == [WINDOWS * model.info.speech_window_tokens]
            assert answer(other) == expected


def test_another_process_continues_the_conversation(checkpoint, state, expected):
    program = (
        "import sys, lyra\n"
        "options = dict(sampling='random', seed=7, max_new_tokens=8)\n"
        "with lyra.Model(sys.argv[1]) as model, model.session(**options) as session:\n"
        "    session.restore(sys.argv[2])\n"
        "    session.feed_text('Summarize.')\n"
        "    list(session.answer())\n"
        "    print(*session.read_tokens())\n"
    )
    command = [sys.executable, "-c", program, str(checkpoint), str(state)]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr
    assert [int(token) for token in ended.stdout.split()] == expected


def test_restoring_releases_file_objects(long_session, state, recording):
    with open(recording, "rb") as file:
        long_session.reset()
        long_session.feed_audio(file)
        assert long_session._readers
        long_session.restore(state)
        assert not long_session._readers


def test_a_state_that_cannot_be_restored_is_refused_and_the_conversation_continues(model, state, recording, tmp_path):
    good = state.read_bytes()
    flipped = bytearray(good)
    flipped[len(good) * 7 // 10] ^= 0x20
    bad = tmp_path / "bad.state"
    with model.session(**OPTIONS) as session, model.session(**OPTIONS) as twin:
        for each in (session, twin):
            answer(each, "Hello!")
        for content in (b"", good[:-1], good[: len(good) // 2], bytes(flipped), b"X" + good[1:]):
            bad.write_bytes(content)
            assert str(bad) in refused(lyra.Status.FORMAT, session.restore, bad)
        bad.write_bytes(good[:8] + b"\x09" + good[9:])
        refused(lyra.Status.UNSUPPORTED, session.restore, bad)
        refused(lyra.Status.FORMAT, session.restore, recording)
        refused(lyra.Status.IO, session.restore, tmp_path / "none.state")
        refused(lyra.Status.IO, session.save, tmp_path / "none" / "a.state")
        assert answer(session, "And?") == answer(twin, "And?")
        assert session.usage.cached_tokens == twin.usage.cached_tokens > 0


def test_another_models_state_is_refused(state, other_checkpoint):
    with lyra.Model(other_checkpoint) as other, other.session(**OPTIONS) as session:
        assert "model" in refused(lyra.Status.ARGUMENT, session.restore, state)
        assert answer(session, "Hello!")


def test_a_turn_that_is_not_computed_is_not_saved(long_session, samples, tmp_path):
    path = tmp_path / "early.state"
    long_session.feed_audio(samples, RATE, more=True)
    refused(lyra.Status.STATE, long_session.save, path)
    long_session.feed_text("Summarize.")
    answering = long_session.answer()
    next(answering)
    refused(lyra.Status.STATE, long_session.save, path)
    refused(lyra.Status.STATE, long_session.restore, path)
    answering.close()
    assert not path.exists()


# --------------------------------------------------------------------------------------------------------- extractor


def halves(count, blocks):
    """How many of ``count`` tokens are kept after each block; fewer than 32 are all kept."""
    counts = []
    for _ in range(blocks):
        count = max(32, count // 2) if count >= 32 else count
        counts.append(count)
    return counts


@pytest.mark.parametrize("kind", ["tuple", "blocks", "gap"])
def test_the_extractor_keeps_its_share_after_each_block(model, samples, kind):
    layers = model.info.layers
    choice, gap = {
        "tuple": ((4, 0.5), layers // 4),
        "blocks": (lyra.Extractor(0.5, blocks=2), layers // 2),
        "gap": (lyra.Extractor(keep=0.5, gap=1), 1),
    }[kind]
    with model.session(extractor=choice, **OPTIONS) as session:
        session.feed_audio(samples, RATE)
        assert answer(session)
        (speech,) = session.media()
        usage = session.usage
        blocks = [session.kept(block) for block in range(usage.extractor_blocks)]
        refused(lyra.Status.ARGUMENT, session.kept, len(blocks))
        refused(lyra.Status.ARGUMENT, session.kept, -1)
    count = WINDOWS * model.info.speech_window_tokens
    assert (speech.kind, speech.tokens, speech.start, speech.seconds) == (lyra.MediaKind.SPEECH, count, 0, SECONDS)
    assert len(blocks) == (layers - 1) // gap > 0
    assert [len(block) for block in blocks] == halves(count, len(blocks))
    before = set(range(speech.first, speech.first + count))
    for block in blocks:
        assert block == sorted(set(block)) and before.issuperset(block)
        before = set(block)


def test_without_the_extractor_nothing_is_pruned(model, samples, expected):
    for choice in (None, "off"):
        with model.session(extractor=choice, **OPTIONS) as session:
            session.feed_audio(samples, RATE)
            assert answer(session) == expected and session.usage.extractor_blocks == 0
            refused(lyra.Status.ARGUMENT, session.kept, 0)


@pytest.mark.parametrize(
    "options",
    [
        dict(extractor="on"),
        dict(extractor=lyra.Extractor(0.5)),
        dict(extractor=lyra.Extractor(0.5, blocks=2, gap=2)),
        dict(extractor=(0, 0.5)),
        dict(extractor=(4, 1.5)),
        dict(extractor=(4, float("nan"))),
        dict(kv_type="f64"),
        dict(max_memory_bytes=-1),
    ],
    ids=str,
)
def test_invalid_options_are_refused(model, options):
    assert refused(lyra.Status.ARGUMENT, model.session, **options)


def test_media_are_listed_in_the_order_of_the_prompt(long_session, samples):
    assert long_session.media() == []
    long_session.feed_image(np.full((56, 84, 3), 90, np.uint8))
    long_session.feed_video(np.full((4, 28, 56, 3), 90, np.uint8))
    long_session.feed_audio(samples, RATE)
    long_session.feed_sound(samples[: 3 * RATE], RATE)
    answer(long_session)
    media = long_session.media()
    assert [medium.kind.name for medium in media] == ["IMAGE", "VIDEO", "SPEECH", "SOUND"]
    assert media[0].grid == (1, 2, 3) and media[0].tokens == 6
    assert media[1].kind == lyra.MediaKind.VIDEO and np.prod(media[1].grid) == media[1].tokens > 0
    assert all(a.first + a.tokens <= b.first for a, b in zip(media, media[1:]))
    assert sum(medium.tokens for medium in media) == long_session.usage.media_tokens
    answer(long_session, "And?")
    assert long_session.media() == [], "text has no media"


def test_silent_windows_are_skipped_on_request(model, samples):
    quiet = samples.copy()
    quiet[30 * RATE : 60 * RATE] = 0
    with model.session(skip_silence=True, **OPTIONS) as session:
        session.feed_audio(quiet, RATE)
        answer(session)
        assert [(part.start, part.seconds) for part in session.media()] == [(0, 30), (60, 11)]


def test_a_sessions_media_can_be_drawn(model, samples):
    pytest.importorskip("matplotlib").use("Agg")
    from lyra import plot

    picture = np.full((280, 280, 3), 90, np.uint8)
    with model.session(extractor=(4, 0.5), skip_silence=True, **OPTIONS) as session:
        session.feed_image(picture)
        session.feed_audio(samples, RATE)
        answer(session)
        image, speech = plot.draw_session(session, [picture, (samples, RATE)])
        first = session.media()[0]
        kept = [set(session.kept(block)) for block in range(session.usage.extractor_blocks)]
    (layer,) = [artist for axes in image.axes for artist in axes.get_children() if artist.get_gid() == "survived"]
    expected = [sum(first.first + index in block for block in kept) for index in range(first.tokens)]
    assert layer.get_array().ravel().tolist() == expected and max(expected) > 0
    assert [axes.get_ylabel().split("\n")[0] for axes in speech.axes] == [f"block {n + 1}" for n in range(len(kept))]
    # 71 s in three windows of 30 s, of which the last is padded.
    assert [axes.get_xlim() for axes in speech.axes] == [(0, 90)] * len(kept)


# ----------------------------------------------------------------------------------------------------- types, limits


def test_smaller_cache_types_take_less(model, samples, expected):
    size = {}
    for kind in ("f32", "f16", "bf16", "q8"):
        with model.session(kv_type=kind, **OPTIONS) as session:
            session.feed_audio(samples, RATE)
            smaller = answer(session)
            size[kind] = session.usage.cache_bytes
            if kind in ("f32", "f16"):
                assert smaller == expected
    saved = {kind: size["f32"] - size[kind] for kind in size}
    assert 0 < saved["f16"] == saved["bf16"] < saved["q8"] < 1.5 * saved["f16"]


def test_memory_over_the_limit_is_refused_with_both_numbers(model, samples, long_session):
    hello = answer(long_session, "Hello!")
    limit = long_session.usage.cache_bytes
    with model.session(max_memory_bytes=limit, **OPTIONS) as session:
        session.feed_audio(samples, RATE)
        message = refused(lyra.Status.MEMORY, answer, session)
        needed, allowed = map(int, re.search(r"would take (\d+) .* limit of (\d+)", message).groups())
        assert needed > limit == allowed
        assert session.usage.stop == lyra.StopReason.ERROR and session.usage.cache_bytes <= limit
        assert answer(session, "Hello!") == hello, "the next turn has its answer"
        session.reset()
        session.feed_audio(samples, RATE)
        with pytest.raises(lyra.LyraError) as caught:
            while session.work_ahead():
                pass
        assert caught.value.code == lyra.Status.MEMORY, "also ahead"
        assert answer(session, "Hello!") == hello
