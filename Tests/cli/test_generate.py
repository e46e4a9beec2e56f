"""lyra generate, against the golden turns, and as scripts use it."""

import json
import os
import signal
import stat
import subprocess
import time

import numpy as np
import pytest
from tool import FIXTURES, ROOT, fails, generate, read_wav, run, tensors, write_wav

TURNS = [("text", None, "Hello! Who are you?"), ("speech", "short", "What is said?"), ("long", "long", "Summarize.")]


def recording(root, name):
    short = tensors(root / "cases/speech_short.safetensors")["in.pcm"]
    if name == "short":
        return short
    count = 16000 * 71
    return np.tile(short, 11)[:count] * np.linspace(0.2, 1.0, count, dtype=np.float32)


@pytest.mark.parametrize("variant", ["a", "b"])
@pytest.mark.parametrize("turn, audio, prompt", TURNS)
def test_golden_turns_are_exact(variant, turn, audio, prompt, tmp_path):
    root = FIXTURES / variant
    want = tensors(root / f"cases/turn_{turn}.safetensors")
    arguments = ["--prompt", prompt, "--temperature", 0, "--max-tokens", 12, "--speak", tmp_path / "y.wav", "--json"]
    if audio:
        write_wav(tmp_path / "x.wav", recording(root, audio))
        arguments += ["--audio", tmp_path / "x.wav"]
    for isa in ("", "generic"):
        result = json.loads(generate(root, *arguments, env={**os.environ, "LYRA_ISA": isa}))
        assert result["token_ids"] == want["out.ids"].tolist()
        assert result["units"] == want["out.units"].tolist()
        wave = read_wav(tmp_path / "y.wav")
        assert len(wave) == len(want["out.wav"])
        assert np.abs(wave - want["out.wav"]).max() < 1e-4
    assert result["adapter"] == {"text": "none", "speech": "speech", "long": "long_speech"}[turn]
    assert result["audio"]["sample_rate"] == 16000
    assert result["audio"]["seconds"] == pytest.approx(len(wave) / 16000)


def test_json_has_every_field_of_the_contract(tiny, tmp_path):
    result = run("generate", "--model", tiny, "--prompt", "Hi", "--max-tokens", 5, "--speak", tmp_path / "y.wav", "--json")
    assert result.returncode == 0 and result.stderr == ""
    report = json.loads(result.stdout)
    assert list(report) == ["text", "token_ids", "units", "adapter", "stop", "usage", "audio", "timings_ms"]
    assert list(report["usage"]) == ["prompt_tokens", "media_tokens", "generated_tokens", "kept_per_block"]
    assert list(report["audio"]) == ["path", "sample_rate", "seconds"]
    assert list(report["timings_ms"]) == ["load", "encode", "prefill", "first_token", "first_audio", "total"]
    assert report["stop"] in ("eos", "length")
    assert report["usage"]["generated_tokens"] == len(report["token_ids"])
    assert report["usage"]["media_tokens"] == 0 < report["usage"]["prompt_tokens"]
    assert 0 < report["timings_ms"]["first_token"] < report["timings_ms"]["total"]
    plain = run("generate", "--model", tiny, "--prompt", "Hi", "--max-tokens", 5)
    assert plain.stdout == report["text"] + "\n"


def test_sampling_is_reproducible_by_seed(tiny):
    def ids(*arguments):
        return json.loads(run("generate", "--model", tiny, "--prompt", "Hi", "--max-tokens", 12, "--json", *arguments).stdout)["token_ids"]

    hot = ("--temperature", 1.5, "--top-k", 0, "--top-p", 1)
    assert ids(*hot, "--seed", 3) == ids(*hot, "--seed", 3) != ids(*hot, "--seed", 4)
    assert ids("--temperature", 0) == ids("--temperature", 0) == ids("--temperature", 1, "--top-k", 1)


def test_a_real_recording_is_heard(tiny):
    result = json.loads(run("generate", "--model", tiny, "--audio", FIXTURES / "media/hi.mp3", "--max-tokens", 3, "--json").stdout)
    assert result["usage"]["media_tokens"] == 300 and result["adapter"] == "speech"


def test_what_is_wrong_is_one_line_that_names_it(tiny, tmp_path):
    assert "/nowhere" in fails("generate", "--model", "/nowhere", "--prompt", "Hi")
    assert "/no.wav" in fails("generate", "--model", tiny, "--audio", "/no.wav")
    (tmp_path / "bad.wav").write_bytes(b"RIFF" + bytes(100))
    assert "bad.wav" in fails("generate", "--model", tiny, "--audio", tmp_path / "bad.wav")
    assert "sing" in fails("generate", "--model", tiny, "--prompt", "Hi", "--adapter", "sing")
    write_wav(tmp_path / "nan.wav", [0.0, float("nan")])
    assert "nan.wav" in fails("generate", "--model", tiny, "--audio", tmp_path / "nan.wav")
    alone = tmp_path / "alone"
    alone.symlink_to(FIXTURES / "b/lyra")  # a link's parents are its target's, so the towers beside it are looked past
    assert "vocoder" in fails("generate", "--model", tiny, "--vocoder", tmp_path, "--prompt", "Hi")


def test_outputs_that_cannot_be_written_leave_nothing(tiny, tmp_path):
    say = ("generate", "--model", tiny, "--prompt", "Hi", "--max-tokens", 8, "--speak")
    assert "no/y.wav" in fails(*say, tmp_path / "no/y.wav")
    assert "/dev/full" in fails(*say, "/dev/full")
    assert stat.S_ISCHR(os.stat("/dev/full").st_mode)
    assert list(tmp_path.iterdir()) == []
    assert run(*say, "/dev/null").returncode == 0
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


@pytest.mark.parametrize("arguments", [[], ["--prompt"], ["--prompt", "x", "--max-tokens", "0"], ["--prompt", "x", "--nonsense"], ["--prompt", "x", "--temperature", "-1"], ["--prompt", "x", "--threads", "0"]])
def test_wrong_usage_is_64(tiny, arguments):
    fails("generate", "--model", tiny, *arguments, code=64)


def test_control_c_keeps_what_was_said(tiny):
    tool = os.environ.get("LYRA_TOOL", str(ROOT / ".build/lyra/bin/lyra"))
    # Many tokens, each of which a penalty below 1 makes likelier: the answer goes on until it is told to end.
    command = [tool, "generate", "--model", str(tiny), "--prompt", "Hi", "--temperature", "0", "--repetition-penalty", "0.5", "--max-tokens", "1000000"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    first = os.read(process.stdout.fileno(), 1)
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    rest, errors = process.communicate(timeout=20)
    assert process.returncode == 0 and errors == b"" and first and rest.endswith(b"\n")
