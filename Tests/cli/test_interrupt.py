"""Ctrl-C (SIGINT) ends the answer and keeps its text; a second one ends the program.

The model never ends an answer by itself, and the answer's limit is far beyond the tokens before the signal.
"""

import fcntl
import json
import os
import select
import signal
import subprocess
import time

import numpy as np
import pytest

from support import TOOL, read_wav, write_wav

LONG = ("--prompt", "Hello", "--temperature", "0", "--max-tokens", "30000")
PATIENCE = 60


@pytest.fixture
def start(endless):
    running = []

    def begin(*arguments, stdout=subprocess.PIPE):
        command = [TOOL, "generate", *map(str, endless), *LONG, *map(str, arguments)]
        running.append(
            subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=stdout, stderr=subprocess.PIPE))
        return running[-1]

    yield begin
    for process in running:
        process.kill()
        process.communicate()


def wait_until(condition):
    end = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


def is_waiting(process):
    """Whether the program has computed and has stopped doing so: it can only be waiting to write."""
    before, after = processor_time(process), (time.sleep(0.5), processor_time(process))[1]
    return before == after > 0


def processor_time(process):
    with open(f"/proc/{process.pid}/stat") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:13]))


def is_speaking(directory):
    """Whether the incomplete file has more than a header."""
    return any(entry.stat().st_size > 58 for entry in os.scandir(directory))


def test_the_object_of_an_interrupted_answer_says_so_and_has_the_text(start, tmp_path):
    process = start("--json", "--speak", tmp_path / "answer.wav")
    wait_until(lambda: is_speaking(tmp_path))
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, err) == (0, b"")
    got = json.loads(out)
    assert got["stop"] == "stopped" and got["text"] and got["units"]
    assert 0 < len(got["token_ids"]) == got["usage"]["generated_tokens"] < 30000
    assert os.listdir(tmp_path) == ["answer.wav"]
    rate, samples = read_wav(tmp_path / "answer.wav")
    assert got["audio"]["seconds"] == pytest.approx(len(samples) / rate) and len(samples) > 0


def has_open(process, path):
    folder = f"/proc/{process.pid}/fd"
    try:
        return any(os.path.realpath(f"{folder}/{name}") == str(path) for name in os.listdir(folder))
    except FileNotFoundError:
        return False


def test_an_interrupt_while_the_recording_is_read_keeps_an_older_file(start, tmp_path):
    recording, out = tmp_path / "long.wav", tmp_path / "answer.wav"
    write_wav(recording, np.zeros(3600 * 16000, np.float32))
    out.write_bytes(b"older")
    process = start("--audio", recording, "--speak", out)
    wait_until(lambda: has_open(process, recording))
    process.send_signal(signal.SIGINT)
    output, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, output, err) == (1, b"", b"lyra: interrupted before the answer began\n")
    assert sorted(os.listdir(tmp_path)) == ["answer.wav", "long.wav"] and out.read_bytes() == b"older"


def test_an_interrupted_text_is_a_prefix_of_the_whole(start):
    texts = []
    for _ in range(2):
        process = start()
        assert select.select([process.stdout], [], [], PATIENCE)[0]
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)
        assert (process.returncode, err) == (0, b"")
        assert out.endswith(b"\n") and len(out) > 1
        texts.append(out[:-1])
    shorter, longer = sorted(texts, key=len)
    assert longer.startswith(shorter)


def test_a_second_interrupt_ends_the_program(start):
    """The program writes to a full pipe without a reader, so it cannot react to the first interrupt."""
    read, write = os.pipe()
    fcntl.fcntl(read, fcntl.F_SETPIPE_SZ, 4096)
    os.set_blocking(write, False)
    while True:
        try:
            os.write(write, b"x")
        except BlockingIOError:
            break
    os.set_blocking(write, True)
    process = start(stdout=write)
    os.close(write)
    wait_until(lambda: is_waiting(process))
    process.send_signal(signal.SIGINT)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.5)
    process.send_signal(signal.SIGINT)
    assert process.wait(PATIENCE) == -signal.SIGINT
    os.close(read)
