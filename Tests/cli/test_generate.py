"""The outputs of `generate` for scripts: the JSON object, the streamed text, the file of speech."""

import math
import os
import stat

import pytest

from support import GREEDY, MP3, answer, generate, lyra, model_of, read_wav

KEYS = ["text", "token_ids", "units", "adapter", "stop", "usage", "audio", "timings_ms"]


def is_whole(value):
    return type(value) is int and value >= 0


def is_time(value):
    return type(value) in (int, float) and math.isfinite(value) and value >= 0


def test_the_object_of_a_spoken_answer_has_every_field(recordings, tmp_path):
    wav = tmp_path / "answer.wav"
    got = answer("--audio", recordings["a_short"], "--prompt", "What is said?", "--speak", wav)
    assert list(got) == KEYS
    assert type(got["text"]) is str and got["text"]
    assert len(got["token_ids"]) == 12 and all(is_whole(token) for token in got["token_ids"])
    assert got["units"] and all(is_whole(unit) for unit in got["units"])
    assert (got["adapter"], got["stop"]) == ("speech", "length")
    usage = got["usage"]
    assert list(usage) == ["prompt_tokens", "media_tokens", "generated_tokens", "kept_per_block"]
    assert usage["generated_tokens"] == 12 and usage["kept_per_block"] == []
    assert is_whole(usage["prompt_tokens"]) and 0 < usage["media_tokens"] < usage["prompt_tokens"]
    rate, samples = read_wav(wav)
    assert got["audio"] == {"path": str(wav), "sample_rate": rate, "seconds": pytest.approx(len(samples) / rate)}
    times = got["timings_ms"]
    assert list(times) == ["load", "encode", "prefill", "first_token", "first_audio", "total"]
    assert all(is_time(value) for value in times.values())
    assert times["encode"] > 0 and times["prefill"] > 0
    assert times["encode"] + times["prefill"] <= times["first_token"] <= times["first_audio"]
    assert times["load"] + times["first_audio"] <= times["total"]


def test_the_object_of_a_written_answer_has_no_audio():
    got = answer("--prompt", "Hello! Who are you?")
    assert list(got) == KEYS
    assert (got["units"], got["audio"], got["timings_ms"]["first_audio"]) == ([], None, None)
    assert (got["adapter"], got["usage"]["media_tokens"]) == ("none", 0)


def test_the_text_is_the_same_streamed_and_in_the_object():
    ended = generate("--prompt", "Hello! Who are you?")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout == answer("--prompt", "Hello! Who are you?")["text"] + "\n"


def test_speaking_does_not_change_the_text(tmp_path):
    spoken = answer("--prompt", "Hello", "--speak", tmp_path / "answer.wav")
    assert spoken["token_ids"] == answer("--prompt", "Hello")["token_ids"]


def test_an_answer_that_ends_by_itself_reports_eos(tiny):
    """Among the first answers of random weights at a high temperature, one ends by itself before 2,000 tokens."""
    for seed in range(10):
        ended = answer(
            "--model", tiny, "--prompt", "Hello", "--temperature", 100, "--top-k", 0, "--top-p", 1, "--seed", seed,
            "--max-tokens", 4000)
        if ended["stop"] == "eos":
            assert ended["usage"]["generated_tokens"] == len(ended["token_ids"]) < 4000
            return
        assert (ended["stop"], len(ended["token_ids"])) == ("length", 4000)
    pytest.fail("no answer ended by itself")


def test_several_recordings_are_fed_one_after_another(recordings):
    once = answer("--audio", recordings["a_short"])
    twice = answer("--audio", recordings["a_short"], "--audio", recordings["a_short"])
    assert once["usage"]["media_tokens"] * 2 == twice["usage"]["media_tokens"]


def test_an_mp3_is_answered():
    got = answer("--audio", MP3, "--prompt", "What is said?")
    assert got["adapter"] == "speech" and got["usage"]["media_tokens"] > 0


def test_the_system_prompt_changes_the_answer():
    assert answer("--prompt", "Hello", "--system", "Be brief.")["token_ids"] != answer("--prompt", "Hello")["token_ids"]


@pytest.mark.parametrize("adapter", ["none", "speech", "long_speech"])
def test_the_named_adapter_is_used(adapter):
    assert answer("--prompt", "Hello", "--adapter", adapter)["adapter"] == adapter


def test_quotes_and_text_outside_ascii_are_kept_in_the_object():
    assert answer("--prompt", "„Grüß dich“ \"\\\n\t 你好 🙂")["usage"]["prompt_tokens"] > 0


def test_the_model_is_found_from_any_folder(tmp_path):
    directory = os.path.relpath(model_of("a")[1], tmp_path)
    ended = lyra("generate", "--model", directory, *GREEDY, "--prompt", "Hello", cwd=tmp_path)
    assert ended.stdout == generate("--prompt", "Hello").stdout


def test_a_null_device_takes_the_speech_and_stays_a_device():
    got = answer("--prompt", "Hello", "--speak", os.devnull)
    assert got["audio"]["path"] == os.devnull and got["audio"]["seconds"] > 0
    assert stat.S_ISCHR(os.stat(os.devnull).st_mode)


def test_a_spoken_file_replaces_an_older_one_and_leaves_nothing_else(tmp_path):
    wav = tmp_path / "answer.wav"
    wav.write_bytes(b"older")
    answer("--prompt", "Hello", "--speak", wav)
    assert read_wav(wav)[0] == 16000
    assert os.listdir(tmp_path) == ["answer.wav"]


def test_a_closed_stdout_does_not_put_text_into_the_spoken_file(tmp_path):
    wav = tmp_path / "answer.wav"
    ended = generate("--prompt", "Hello", "--speak", wav, stdout=None, preexec_fn=lambda: os.close(1))
    assert (ended.returncode, ended.stderr) == (0, "")
    assert read_wav(wav)[0] == 16000


def test_notes_go_to_stderr_and_leave_stdout_alone(bare):
    ended = generate("--model", bare, "--prompt", "Hello")
    assert ended.returncode == 0 and ended.stdout
    notes = ended.stderr.splitlines()
    assert len(notes) == 4 and all(note.startswith(f"note: {bare}: ") for note in notes)
