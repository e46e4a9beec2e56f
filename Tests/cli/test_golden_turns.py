"""Whole turns through the command line give what an independent implementation in float32 gave."""

import numpy as np
import pytest

from support import answer, case, model_of, read_wav

# turn: its recording, its text, the adapter it must choose.
TURNS = {
    "turn_text": (None, "Hello! Who are you?", "none"),
    "turn_speech": ("short", "What is said?", "speech"),
    "turn_long": ("long", "Summarize.", "long_speech"),
}


def ask(variant, turn, recordings, *more, **options):
    recording, prompt, _ = TURNS[turn]
    audio = () if recording is None else ("--audio", recordings[f"{variant}_{recording}"])
    return answer(*model_of(variant), *audio, "--prompt", prompt, *more, **options)


@pytest.mark.parametrize("turn", TURNS)
@pytest.mark.parametrize("variant", ["a", "b"])
def test_tokens_units_and_waveform_are_the_references(variant, turn, recordings, tmp_path):
    wav, want = tmp_path / "answer.wav", case(variant, turn)
    got = ask(variant, turn, recordings, "--speak", wav)
    assert got["token_ids"] == want["out.ids"].tolist()
    assert got["units"] == want["out.units"].tolist()
    assert got["adapter"] == TURNS[turn][2]
    assert got["usage"]["prompt_tokens"] == want["out.positions"].shape[1]
    rate, samples = read_wav(wav)
    assert (rate, len(samples)) == (16000, len(want["out.wav"]))
    # Samples are in -1…1; sums in another order differ by about 1e-6, and any error of substance is far above 1e-4.
    assert np.abs(samples - want["out.wav"]).max() <= 1e-4


@pytest.mark.parametrize("isa", ["generic", "avx2"])
def test_every_instruction_set_says_the_same(isa, recordings, tmp_path, monkeypatch):
    monkeypatch.setenv("LYRA_ISA", isa)
    want = case("a", "turn_speech")
    got = ask("a", "turn_speech", recordings, "--speak", tmp_path / "answer.wav")
    assert (got["token_ids"], got["units"]) == (want["out.ids"].tolist(), want["out.units"].tolist())


def test_one_thread_says_the_same(recordings, tmp_path):
    want = case("b", "turn_speech")
    got = ask("b", "turn_speech", recordings, "--speak", tmp_path / "answer.wav", "--threads", 1)
    assert (got["token_ids"], got["units"]) == (want["out.ids"].tolist(), want["out.units"].tolist())
