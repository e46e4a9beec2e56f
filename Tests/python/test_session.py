"""Sessions in Python: turns, sources of audio, errors, stop and cancel."""

import io
import pickle
import subprocess
import sys
import threading
import wave
from array import array
from pathlib import Path

import pytest

import lyra

ROOT = Path(__file__).resolve().parents[2]


def ask(session, *feeds):
    """Takes one turn in a reset session. → its events"""
    session.reset()
    for feed in feeds:
        feed(session)
    session.feed_text("What is said?")
    return list(session.answer())


def text_of(events):
    return "".join(event.text for event in events if isinstance(event, lyra.Text))


def samples_of(events):
    every = array("f")
    for event in events:
        if isinstance(event, lyra.Audio):
            every.extend(event.samples)
    return every


def pcm_of(recording):
    with wave.open(str(recording)) as file:
        return array("h", file.readframes(file.getnframes())), file.getframerate()


@pytest.fixture
def expected(session, recording):
    """The answer to the recording's file: text, samples and token ids."""
    events = ask(session, lambda s: s.feed_audio(recording))
    return text_of(events), samples_of(events), session.read_tokens()


def same(session, expected, *feeds):
    events = ask(session, *feeds)
    return (text_of(events), samples_of(events), session.read_tokens()) == expected


def prompt_tokens(session, text, **options):
    session.reset()
    session.feed_text(text, **options)
    return list(session.answer())[-1].usage.prompt_tokens


def test_the_names_of_special_tokens_are_plain_text_by_default(session):
    none = prompt_tokens(session, "")
    assert prompt_tokens(session, "<|im_end|>") > none + 4
    assert prompt_tokens(session, "<|im_end|>", special_tokens=True) == none + 1
    session.reset()
    session.set_system_prompt("<|im_end|>")
    session.feed_text("")
    as_prompt = list(session.answer())[-1].usage.prompt_tokens
    session.reset()
    session.set_system_prompt("")
    assert as_prompt > prompt_tokens(session, "") + 4


# ------------------------------------------------------------------------------------------------------------- model


def test_the_version_is_the_packages():
    assert lyra.version() == "0.2.0"


def test_a_model_has_its_info(model):
    info = model.info
    assert info.layers > 0 and info.parameters > 0 and info.weight_bytes > 0
    assert info.hears_speech is True and info.speaks is True
    assert info.audio_sample_rate == 16000 and info.speech_sample_rate == 16000


def test_opening_reports_progress(checkpoint):
    reports = []
    lyra.Model(checkpoint, progress=lambda done, total: reports.append((done, total))).close()
    assert reports and reports == sorted(reports) and reports[-1][0] <= reports[-1][1]


def test_opening_can_be_interrupted(checkpoint):
    with pytest.raises(lyra.LyraError) as caught:
        lyra.Model(checkpoint, progress=lambda done, total: False)
    assert caught.value.code == lyra.Status.STATE


def test_exceptions_of_a_progress_function_are_raised(checkpoint):
    def fail(done, total):
        raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        lyra.Model(checkpoint, progress=fail)


def test_a_missing_model_is_named(tmp_path):
    with pytest.raises(lyra.LyraError, match="nowhere") as caught:
        lyra.Model(tmp_path / "nowhere")
    assert caught.value.code in (lyra.Status.IO, lyra.Status.MISSING)


def test_a_closed_model_creates_no_session(checkpoint):
    model = lyra.Model(checkpoint)
    model.close()
    model.close()
    with pytest.raises(lyra.LyraError) as caught:
        model.session()
    assert caught.value.code == lyra.Status.CLOSED


def test_a_session_outlives_its_model(checkpoint):
    with lyra.Model(checkpoint) as model:
        session = model.session(sampling="greedy", max_new_tokens=3)
    with session:
        session.feed_text("hello")
        assert isinstance(list(session.answer())[-1], lyra.End)


@pytest.mark.parametrize(
    "option",
    [{"top_p": 2}, {"temperature": -1}, {"top_k": -1}, {"adapter": "no such adapter"}, {"sampling": "guess"}],
    ids=lambda option: next(iter(option)),
)
def test_an_invalid_option_is_an_error(model, option):
    with pytest.raises(lyra.LyraError) as caught:
        model.session(**option)
    assert caught.value.code == lyra.Status.ARGUMENT


# ------------------------------------------------------------------------------------------------------------- turns


def test_events_come_in_order_and_end_exactly_once(session, recording):
    events = ask(session, lambda s: s.feed_audio(recording))
    kinds = [type(event) for event in events]
    assert kinds.count(lyra.End) == 1 and kinds[-1] is lyra.End
    assert lyra.Progress in kinds and kinds.index(lyra.Progress) < kinds.index(lyra.Text)
    usage = events[-1].usage
    assert usage.stop in (lyra.StopReason.EOS, lyra.StopReason.LENGTH)
    assert usage.generated_tokens == len(session.read_tokens()) > 0
    assert usage.units == len(session.read_units())
    assert usage.audio_samples == len(samples_of(events)) > 0
    assert usage.media_tokens > 0 and usage.total_ms > 0 and usage.adapter


def test_audio_is_floats_between_minus_one_and_one_at_the_models_rate(session, recording, model):
    pieces = [event for event in ask(session, lambda s: s.feed_audio(recording)) if isinstance(event, lyra.Audio)]
    assert all(piece.sample_rate == model.info.audio_sample_rate for piece in pieces)
    assert all(piece.samples.typecode == "f" and len(piece.samples) > 0 for piece in pieces)
    assert all(-1 <= sample <= 1 for piece in pieces for sample in piece.samples)


def test_greedy_answers_are_the_same_each_time(session, recording, expected):
    assert same(session, expected, lambda s: s.feed_audio(recording))


def test_a_temperature_of_zero_is_greedy(model, recording, expected):
    with model.session(speak=True, temperature=0, max_new_tokens=8) as session:
        assert same(session, expected, lambda s: s.feed_audio(recording))


def test_text_alone_is_answered_without_audio_if_not_asked_for(model):
    with model.session(sampling="greedy", max_new_tokens=4) as session:
        events = ask(session)
    assert text_of(events) and not samples_of(events)


def test_speaking_can_be_switched(session):
    def audio():
        session.feed_text("Hello")
        return sum(isinstance(event, lyra.Audio) for event in session.answer())

    assert audio() > 0
    session.set_speak(False)
    assert audio() == 0
    session.set_speak(True)
    assert audio() > 0


def test_a_second_turn_keeps_the_first(session):
    session.feed_text("hello")
    list(session.answer())
    session.feed_text("and then?")
    assert list(session.answer())[-1].usage.cached_tokens > 0


# ----------------------------------------------------------------------------------------------------------- sources


def test_a_path_can_be_a_string(session, recording, expected):
    assert same(session, expected, lambda s: s.feed_audio(str(recording)))


def test_bytes_are_the_content_of_a_file(session, recording, expected):
    assert same(session, expected, lambda s: s.feed_audio(recording.read_bytes()))


def test_a_file_object_is_read(session, recording, expected):
    with open(recording, "rb") as file:
        assert same(session, expected, lambda s: s.feed_audio(file))
    assert not session._readers, "the library has closed its reader"


def test_a_file_object_that_cannot_seek_is_read(session, recording, expected):
    class Pipe(io.BytesIO):
        def seekable(self):
            return False

    assert same(session, expected, lambda s: s.feed_audio(Pipe(recording.read_bytes())))


@pytest.mark.parametrize("kind", ["list", "h", "f", "d", "i"])
def test_samples_can_be_a_list_or_an_array(session, recording, expected, kind):
    pcm, rate = pcm_of(recording)
    samples = {
        "h": pcm,
        "i": array("i", (value << 16 for value in pcm)),
        "list": [value / 32768 for value in pcm],
        "f": array("f", (value / 32768 for value in pcm)),
        "d": array("d", (value / 32768 for value in pcm)),
    }[kind]
    assert same(session, expected, lambda s: s.feed_audio(samples, rate))


@pytest.mark.parametrize("shape", ["mono", "column", "stereo", "strided", "float64", "int16"])
def test_samples_can_be_a_numpy_array(session, recording, expected, shape):
    numpy = pytest.importorskip("numpy")
    pcm, rate = pcm_of(recording)
    mono = numpy.asarray(pcm, dtype=numpy.float32) / 32768
    samples = {
        "mono": mono,
        "column": mono[:, None],
        "stereo": numpy.stack([mono, mono], axis=1),
        "strided": numpy.repeat(mono, 2)[::2],
        "float64": mono.astype(numpy.float64),
        "int16": numpy.asarray(pcm, dtype=numpy.int16),
    }[shape]
    assert same(session, expected, lambda s: s.feed_audio(samples, rate))


def test_samples_can_come_in_pieces(session, recording, expected):
    pcm, rate = pcm_of(recording)

    def feed(session):
        for start in range(0, len(pcm), 1000):
            session.feed_audio(pcm[start : start + 1000], rate, more=start + 1000 < len(pcm))

    assert same(session, expected, feed)


def test_a_recording_may_have_no_samples(session):
    assert isinstance(ask(session, lambda s: s.feed_audio([], 16000))[-1], lyra.End)


# ------------------------------------------------------------------------------------------------------------ errors


@pytest.mark.parametrize(
    ("feed", "code"),
    [
        (lambda s: s.feed_audio("/nowhere.wav"), lyra.Status.IO),
        (lambda s: s.feed_audio(b"no recording"), lyra.Status.FORMAT),
        (lambda s: s.feed_audio(io.BytesIO(b"no recording")), lyra.Status.FORMAT),
        (lambda s: s.feed_audio([float("nan")], 16000), lyra.Status.ARGUMENT),
        (lambda s: s.feed_audio([float("inf")], 16000), lyra.Status.ARGUMENT),
        (lambda s: s.feed_audio([0.0], 0), lyra.Status.ARGUMENT),
        (lambda s: s.feed_audio([0.0], -5), lyra.Status.ARGUMENT),
        (lambda s: next(s.answer()), lyra.Status.STATE),
    ],
    ids=["missing", "bytes", "file object", "nan", "infinite", "rate 0", "rate -5", "nothing fed"],
)
def test_refusals_of_the_library_are_lyra_errors_with_their_code(session, feed, code):
    with pytest.raises(lyra.LyraError) as caught:
        feed(session)
    assert caught.value.code == code and str(caught.value)


def test_an_error_can_be_pickled():
    error = pickle.loads(pickle.dumps(lyra.LyraError(2, "no such file")))
    assert error.code is lyra.Status.IO and str(error) == "no such file"


@pytest.mark.parametrize(
    "feed",
    [
        lambda s: s.feed_audio([0.0]),
        lambda s: s.feed_audio(b"RIFF", 16000),
        lambda s: s.feed_audio("file.wav", 16000),
        lambda s: s.feed_audio(array("B", [1, 2, 3]), 16000),
        lambda s: s.feed_audio(["a"], 16000),
    ],
    ids=["samples without a rate", "bytes with a rate", "path with a rate", "samples of bytes", "words"],
)
def test_an_invalid_source_is_a_type_error(session, feed):
    with pytest.raises(TypeError):
        feed(session)


def test_exceptions_of_a_file_object_are_raised_and_the_session_stays_usable(session, recording):
    class Breaking(io.BytesIO):
        broken = False

        def read(self, count=-1):
            if self.broken:
                raise ZeroDivisionError("mine")
            return super().read(count)

    file = Breaking(recording.read_bytes())
    session.feed_audio(file)
    file.broken = True
    with pytest.raises(ZeroDivisionError, match="mine"):
        list(session.answer())
    assert session.usage.stop == lyra.StopReason.ERROR
    session.feed_text("hello")
    assert isinstance(list(session.answer())[-1], lyra.End)


def test_a_closed_session_is_an_error(model):
    session = model.session()
    session.close()
    session.close()
    with pytest.raises(lyra.LyraError) as caught:
        session.feed_text("hello")
    assert caught.value.code == lyra.Status.CLOSED


# -------------------------------------------------------------------------------------------------- stop and cancel


@pytest.mark.parametrize(
    ("interrupt", "reason"),
    [(lyra.Session.stop, lyra.StopReason.STOPPED), (lyra.Session.cancel, lyra.StopReason.CANCELLED)],
    ids=["stop", "cancel"],
)
def test_another_thread_can_interrupt(model, interrupt, reason):
    with model.session(sampling="random", seed=1, temperature=5, max_new_tokens=400) as session:
        session.feed_text("Tell me a long story.")
        ends = []
        for event in session.answer():
            if isinstance(event, lyra.Text):
                thread = threading.Thread(target=interrupt, args=(session,))
                thread.start()
                thread.join()
            elif isinstance(event, lyra.End):
                ends.append(event)
        assert len(ends) == 1
        # By chance, the model may end its answer with the interrupted token.
        assert ends[0].usage.stop in (reason, lyra.StopReason.EOS)


def test_a_cancelled_turn_leaves_no_trace(session, recording, expected):
    session.reset()
    session.feed_audio(recording)
    session.feed_text("Something else")
    for event in session.answer():
        if isinstance(event, lyra.Text):
            session.cancel()
    session.feed_audio(recording)
    session.feed_text("What is said?")
    events = list(session.answer())
    assert (text_of(events), samples_of(events), session.read_tokens()) == expected


def test_leaving_the_iteration_stops_the_turn(session):
    session.feed_text("hello")
    for event in session.answer():
        if isinstance(event, lyra.Text):
            break
    assert session.usage.stop in (lyra.StopReason.STOPPED, lyra.StopReason.EOS)
    session.feed_text("go on")
    assert isinstance(list(session.answer())[-1], lyra.End)


# ----------------------------------------------------------------------------------------------------------- example


def test_the_example_answers_and_writes_speech(checkpoint, recording, tmp_path):
    out = tmp_path / "out.wav"
    example = [sys.executable, str(ROOT / "examples/python/speak.py"), "--greedy", "--max-tokens", "8"]
    done = subprocess.run(
        [*example, "--model", str(checkpoint), str(recording), str(out), "What is said?"],
        capture_output=True, text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    with wave.open(str(out)) as file:
        assert file.getnframes() > 0 and file.getframerate() == 16000


def test_the_example_names_a_missing_recording(checkpoint, tmp_path):
    example = [sys.executable, str(ROOT / "examples/python/speak.py")]
    out = tmp_path / "out.wav"
    out.write_bytes(b"older")
    done = subprocess.run(
        [*example, "--model", str(checkpoint), "/nowhere.wav", str(out)], capture_output=True, text=True
    )
    assert out.read_bytes() == b"older"
    assert done.returncode == 1 and "/nowhere.wav" in done.stderr and "Traceback" not in done.stderr
