"""A file named - is standard input: a pipe, a file or nothing; it can be read once."""

import json
import os
import signal
import subprocess
import time

import pytest

from support import GREEDY, MP3, TOOL, answer, fails, generate, is_wrong_usage, lyra, model_of, read_safetensors


def piped(data, *arguments, **options):
    """Runs the tool with bytes from a pipe. → the process, with its output as text"""
    ended = subprocess.run([TOOL, *map(str, arguments)], input=data, capture_output=True, timeout=120, **options)
    ended.stdout, ended.stderr = ended.stdout.decode(), ended.stderr.decode()
    return ended


def ids_of(ended):
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return json.loads(ended.stdout)["token_ids"]


def turn(*arguments):
    return "generate", *model_of("a"), *GREEDY, *arguments, "--json"


@pytest.fixture
def media(recordings, pictures, clip):
    return {"--audio": recordings["a_short"], "--image": pictures["a_small"], "--video": clip, "--sound": MP3}


@pytest.mark.parametrize("option", ["--audio", "--image", "--video", "--sound"])
def test_every_medium_comes_through_a_pipe(option, media):
    data = media[option].read_bytes()
    assert ids_of(piped(data, *turn(option, "-"))) == answer(option, media[option])["token_ids"]


@pytest.mark.parametrize("option", ["--audio", "--image", "--video", "--sound"])
def test_every_medium_comes_through_process_substitution_and_a_fifo(option, media, tmp_path):
    file, right = str(media[option]), answer(option, media[option])["token_ids"]
    command = [TOOL, *map(str, turn()), option]
    substituted = ["bash", "-c", '"$@" <(cat "$0")', file, *command]
    assert ids_of(subprocess.run(substituted, capture_output=True, encoding="utf-8", timeout=120)) == right
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    writer = subprocess.Popen(["bash", "-c", 'cat "$0" > "$1"', file, fifo])
    assert ids_of(generate(option, fifo, "--json")) == right
    assert writer.wait(timeout=60) == 0


def open_when_read(fifo):
    """Opens the pipe for writing, without blocking, once a reader has opened it. → its descriptor"""
    deadline = time.monotonic() + 60
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.02)


@pytest.mark.parametrize("option", ["--audio", "--image", "--video"])
def test_ctrl_c_ends_the_wait_for_a_fifo(option, tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [TOOL, *map(str, turn(option, fifo))], stdout=subprocess.PIPE, stderr=subprocess.PIPE, encoding="utf-8")
    writer = open_when_read(fifo)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    os.close(writer)
    assert process.returncode == 1 and error == "lyra: interrupted before the answer began\n"


def test_a_pipe_that_is_written_slowly_is_read_to_its_end(media):
    process = subprocess.Popen([TOOL, *map(str, turn("--audio", "-"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    data = media["--audio"].read_bytes()
    for start in range(0, len(data), len(data) // 4):
        process.stdin.write(data[start:start + len(data) // 4])
        process.stdin.flush()
        time.sleep(0.05)
    out, _ = process.communicate(timeout=120)
    assert json.loads(out)["token_ids"] == answer("--audio", media["--audio"])["token_ids"]


def test_a_file_as_standard_input_is_read(media):
    with open(media["--audio"], "rb") as file:
        command = [TOOL, *map(str, turn("--audio", "-"))]
        ended = subprocess.run(command, stdin=file, capture_output=True, encoding="utf-8")
    assert ids_of(ended) == answer("--audio", media["--audio"])["token_ids"]


def test_no_temporary_file_is_left(media, tmp_path):
    ids_of(piped(media["--audio"].read_bytes(), *turn("--audio", "-"), env={**os.environ, "TMPDIR": str(tmp_path)}))
    assert os.listdir(tmp_path) == []


def test_a_missing_folder_for_temporary_files_is_named(media):
    ended = piped(b"x", *turn("--audio", "-"), env={**os.environ, "TMPDIR": "/nowhere"})
    fails(ended, "standard input", "/nowhere", "No such file or directory")


@pytest.mark.parametrize("data, part", [(b"", "empty: 0 bytes"), (b"no sound " * 1000, "/dev/stdin")])
def test_data_that_are_not_a_recording_are_named(data, part):
    fails(piped(data, *turn("--audio", "-")), part)


def test_closed_standard_input_is_an_error():
    ended = generate("--audio", "-")  # support.lyra gives it /dev/null
    fails(ended, "empty: 0 bytes")


def test_ctrl_c_ends_the_reading(tmp_path):
    process = subprocess.Popen(
        [TOOL, *map(str, turn("--audio", "-"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8", env={**os.environ, "TMPDIR": str(tmp_path)})
    # The tool reads after it has made its temporary file and removed the name.
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and not any(
            os.readlink(f"/proc/{process.pid}/fd/{number}").startswith(str(tmp_path))
            for number in os.listdir(f"/proc/{process.pid}/fd")):
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    _, error = process.communicate(timeout=60)
    assert process.returncode == 1 and error == "lyra: interrupted before the answer began\n"


@pytest.mark.parametrize("arguments", [
    ("--audio", "-", "--audio", "-"), ("--audio", "-", "--image", "-"), ("--video", "-", "--sound", "-")], ids=" ".join)
def test_it_can_be_given_once(arguments):
    is_wrong_usage(generate(*arguments), "standard input")


def test_a_file_of_that_name_is_written_with_its_folder(media, tmp_path):
    (tmp_path / "-").write_bytes(media["--audio"].read_bytes())
    got = lyra(*turn("--audio", "./-"), cwd=tmp_path)
    assert ids_of(got) == answer("--audio", media["--audio"])["token_ids"]


@pytest.mark.parametrize("command", ["/audio", "/image", "/video", "/sound"])
def test_a_chat_refuses_it_by_name(command):
    ended = piped(f"{command} -\n".encode(), "chat", *model_of("a"), *GREEDY)
    fails(ended, f"{command} -", "standard input", "chat")


def test_features_of_a_pipe(pictures, tmp_path):
    out, expected = tmp_path / "out.safetensors", tmp_path / "expected.safetensors"
    assert piped(pictures["a_small"].read_bytes(), "features", "-", "--out", out).returncode == 0
    assert lyra("features", pictures["a_small"], "--out", expected).returncode == 0
    assert out.read_bytes() == expected.read_bytes() and read_safetensors(out)
    # A file that is not an image is examined again, to name its medium.
    fails(piped(MP3.read_bytes(), "features", "-", "--out", out), "it is a sound: pass --as sound")


def test_evaluations_read_it(recordings, tmp_path):
    line = json.dumps({"audio": "a_short.wav", "text": "one"}) + "\n"
    os.symlink(recordings["a_short"], tmp_path / "a_short.wav")
    (tmp_path / "list").write_text(line)
    asked = "eval", "wer", *model_of("a"), "--max-tokens", 4
    ended = piped(line.encode(), *asked, "--manifest", "-", "--json", tmp_path / "out.json", cwd=tmp_path)
    assert ended.returncode == 0, ended
    assert ended.stdout == lyra(*asked, "--manifest", tmp_path / "list").stdout
    assert piped((tmp_path / "out.json").read_bytes(), "eval", "score", "-").stdout == ended.stdout


def test_a_needle_can_be_piped(recordings, tmp_path):
    hay = tmp_path / "hay"
    hay.mkdir()
    os.symlink(recordings["b_short"], hay / "b.wav")
    asked = ("eval", "needle", *model_of("a"), "--haystack", hay, "--question", "?", "--answer", "x",
             "--lengths", "9,12", "--depths", "0,1", "--max-tokens", 4)
    given = lyra(*asked, "--needle", recordings["a_short"])
    ended = piped(recordings["a_short"].read_bytes(), *asked, "--needle", "-")
    assert (ended.returncode, ended.stdout) == (0, given.stdout) and given.stdout


def test_a_benchmark_decodes_it(clip):
    timed = "bench", "parts", "--preset", "tiny", "--only", "video", "--repetitions", 1
    ended = piped(clip.read_bytes(), *timed, "--video", "-")
    assert ended.returncode == 0 and "video" in ended.stdout, ended


def test_speech_does_not_go_to_standard_output():
    is_wrong_usage(generate("--prompt", "hi", "--speak", "-"), "--speak writes a file")


def test_ctrl_c_ends_the_wait_for_a_fifo_in_a_chat(tmp_path):
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    process = subprocess.Popen(
        [TOOL, "chat", *map(str, model_of("a"))], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        encoding="utf-8")
    process.stdin.write(f"/audio {fifo}\n")
    process.stdin.flush()
    writer = open_when_read(fifo)
    try:
        process.send_signal(signal.SIGINT)
        # Without a terminal nobody can type the next line.
        _, stderr = process.communicate(timeout=60)
        assert process.returncode != 0 and "interrupted" in stderr.lower(), (process.returncode, stderr)
    finally:
        os.close(writer)
        process.kill()
