"""Recordings of hours are answered, in every format, in memory that does not grow with them."""
import json
import os
import signal
import subprocess
import time

import pytest

from support import TOOL, lyra

FIXTURE = os.path.join(os.path.dirname(__file__), "..", "Fixtures", "media", "hi.mp3")
WINDOW = 30
# Bytes per row in the tiny checkpoint's cache: 4 layers of keys and values, 2 heads of 16 floats.
BYTES_PER_TOKEN = 4 * 2 * 2 * 16 * 4


def ffmpeg(*arguments):
    subprocess.run(["ffmpeg", "-v", "error", "-y", *map(str, arguments)], check=True)


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    path = tmp_path_factory.mktemp("hours") / "tiny"
    lyra("make-tiny", path)
    return path


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    """A minute of speech, repeated; without encoding it again if the format allows that."""
    folder = tmp_path_factory.mktemp("recordings")
    ffmpeg("-stream_loop", -1, "-i", FIXTURE, "-t", 60, "-ac", 1, "-ar", 16000, folder / "minute.wav")

    def make(name, minutes):
        path = folder / f"{minutes}-{name}"
        if name.endswith(".mp3"):
            ffmpeg("-i", folder / "minute.wav", folder / name)
            ffmpeg("-stream_loop", minutes - 1, "-i", folder / name, "-c", "copy", path)
        else:
            fast = ["-compression_level", 0] if name.endswith(".opus") else []
            ffmpeg("-stream_loop", minutes - 1, "-i", folder / "minute.wav", *fast, path)
        return path

    return make


def run(model, *arguments):
    """→ the report, and the peak resident memory of the process in bytes"""
    command = [TOOL, "generate", "--model", model, "--temperature", "0", "--max-tokens", "4", "--json", *arguments]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out = process.stdout.read()
    complaint = process.stderr.read().decode()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0, complaint
    return json.loads(out), usage.ru_maxrss * 1024


def ask(model, recording):
    return run(model, "--audio", recording, "--prompt", "Summarize.")


def test_memory_does_not_grow_with_the_recording(tiny, recordings):
    _, opened = run(tiny, "--prompt", "Summarize.")
    beyond = {}
    for minutes in (20, 60):
        report, peak = ask(tiny, recordings("speech.wav", minutes))
        usage = report["usage"]
        # n // window + 1 windows: the last one is empty here.
        assert usage["media_tokens"] == (minutes * 60 // WINDOW + 1) * 300
        assert report["adapter"] == "long_speech" and len(report["token_ids"]) > 0
        assert peak - opened < 400e6
        beyond[minutes] = peak - usage["prompt_tokens"] * BYTES_PER_TOKEN
    # The whole process without its cache. The samples would take 77 MB more.
    assert abs(beyond[60] - beyond[20]) <= 0.1 * beyond[20]


@pytest.mark.parametrize("name", ["speech.flac", "speech.mp3", "speech.opus"])
def test_every_format_is_decoded_to_its_end(tiny, recordings, name):
    report, _ = ask(tiny, recordings(name, 10))
    windows = report["usage"]["media_tokens"] // 300
    # Joined MP3 streams carry an encoder's few milliseconds of padding at each joint.
    assert 600 // WINDOW + 1 <= windows <= 600 // WINDOW + 1 + (1 if name.endswith("mp3") else 0)
    assert report["stop"] in ("length", "eos")


def test_an_interrupt_ends_the_turn_at_once(tiny, recordings):
    command = [
        TOOL, "generate", "--model", tiny, "--audio", recordings("speech.wav", 60), "--prompt", "Summarize.", "--json"]
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    time.sleep(1)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (1, b"", b"lyra: interrupted before the answer began\n")
