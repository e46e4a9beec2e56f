"""A silent recording is answered, with a note, because the likeliest cause is a muted microphone."""

import subprocess

import numpy as np
import pytest

from support import answer, generate, write_wav

RATE = 16000


def level(decibels):
    """2 s of a tone of 440 Hz whose peak is at `decibels` of full scale."""
    return (10 ** (decibels / 20) * np.sin(2 * np.pi * 440 * np.arange(2 * RATE) / RATE)).astype(np.float32)


def notes(*arguments):
    ended = generate(*arguments, "--prompt", "What is said?")
    assert ended.returncode == 0, ended
    return ended.stderr


SILENT = "is silent: all its samples are below -60 dB of full scale"


@pytest.mark.parametrize("kind, samples, note", [
    ("--audio", np.zeros(0, np.float32), "has no samples"),
    ("--audio", np.zeros(2 * RATE, np.float32), SILENT),
    ("--sound", np.zeros(2 * RATE, np.float32), SILENT),
    ("--audio", level(-70), SILENT),
], ids=["empty speech", "speech of zeros", "sound of zeros", "speech at -70 dB"])
def test_silence_is_noted_once(kind, samples, note, tmp_path):
    path = tmp_path / "quiet.wav"
    write_wav(path, samples)
    stderr = notes(kind, path)
    assert stderr.count("note:") == 1 and note in stderr and str(path) in stderr, stderr


@pytest.mark.parametrize("position", [0, RATE, 2 * RATE - 1])
def test_one_loud_sample_prevents_the_note(position, tmp_path):
    samples = np.zeros(2 * RATE, np.float32)
    samples[position] = 0.01
    write_wav(tmp_path / "click.wav", samples)
    assert notes("--audio", tmp_path / "click.wav") == ""


def test_a_quiet_voice_is_not_silence(tmp_path):
    write_wav(tmp_path / "quiet.wav", level(-55))
    assert notes("--audio", tmp_path / "quiet.wav") == ""


def test_the_silent_recording_of_two_is_named(tmp_path):
    write_wav(tmp_path / "loud.wav", level(-20))
    write_wav(tmp_path / "silent.wav", level(-90))
    stderr = notes("--audio", tmp_path / "loud.wav", "--audio", tmp_path / "silent.wav")
    assert "silent.wav: recording 2 of the turn is silent" in stderr and "loud.wav" not in stderr


def test_a_videos_silent_audio_is_noted(tmp_path):
    path = tmp_path / "muted.mp4"
    subprocess.run(
        ["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc=duration=2:size=56x56:rate=4",
         "-f", "lavfi", "-i", "anullsrc=r=16000:cl=mono", "-t", "2", "-pix_fmt", "yuv420p", path], check=True)
    assert "muted.mp4: recording 1 of the turn is silent" in notes("--video", path, "--with-audio")
    assert answer("--video", path, "--prompt", "What?")["usage"]["media_tokens"] > 0
