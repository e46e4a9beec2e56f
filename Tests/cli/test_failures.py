"""A failure is exit status 1 and one line on stderr that names the error, and leaves no file."""

import os
import resource
import shutil
import signal

import pytest

from support import FIXTURES, MP3, fails, generate, is_wrong_usage, lyra, model_of, write_wav


def test_a_missing_model_is_named(tmp_path):
    fails(generate("--model", tmp_path / "nowhere", "--prompt", "x"), tmp_path / "nowhere", "no such file or directory")


def test_the_directory_of_a_training_run_names_what_is_in_it(tmp_path):
    def opened(part):
        fails(lyra("generate", "--model", tmp_path, "--prompt", "x"), "it has no config.json", tmp_path / part)

    for part in ("non_lora_trainables.bin", "speech_lora/adapter_config.json", "model/config.json"):
        (tmp_path / part).parent.mkdir(exist_ok=True)
        (tmp_path / part).write_text("{}")
        opened(part.split("/")[0])


def test_a_directory_without_a_model_is_named(tmp_path):
    fails(generate("--model", tmp_path, "--prompt", "x"), f"{tmp_path}: not a checkpoint directory", "config.json")


@pytest.mark.parametrize("model, part", [
    ("", '"" is not a path'), ("/dev/null", "/dev/null: not a regular file or directory"),
    ("nope.gguf", "nope.gguf: there is no such file or directory")])
def test_a_path_without_a_model_is_named(model, part, tmp_path):
    fails(generate("--model", model, "--prompt", "x", cwd=tmp_path), part)
    fails(lyra("inspect", model, cwd=tmp_path), part)


@pytest.mark.parametrize("towers, part", [("/nope", "/nope: there is no such directory"), ("", '"" is not a path')])
def test_a_missing_directory_of_towers_is_named_even_if_it_is_not_needed(towers, part, tiny):
    fails(lyra("generate", "--model", tiny, "--towers", towers, "--prompt", "x"), part)
    fails(lyra("inspect", tiny, "--towers", towers), part)


def test_an_unknown_instruction_set_is_named_with_the_known_ones(monkeypatch):
    monkeypatch.setenv("LYRA_ISA", "foo")
    fails(lyra("inspect", FIXTURES / "a/lyra"), 'LYRA_ISA is "foo"', "generic, avx2, avxvnni, avx512, avx512vnni, avx512bf16, amx")
    for value in ("", "Generic"):
        monkeypatch.setenv("LYRA_ISA", value)
        ended = lyra("bench", "parts", "--preset", "tiny", "--only", "vocoder", "--repetitions", 1)
        assert ended.returncode == 0 and (", generic;" in ended.stdout) == bool(value)


def test_a_missing_speech_tower_is_named_in_one_line(bare):
    fails(generate("--model", bare, "--audio", MP3), bare, "whisper-tiny")


def test_a_missing_vocoder_is_named_in_one_line(bare, tmp_path):
    fails(generate("--model", bare, "--prompt", "x", "--speak", tmp_path / "out.wav"), bare, "vocoder")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "name", ["model-00002-of-00002.safetensors", "config.json", "vocab.json", "speech_lora/adapter_model.safetensors"])
def test_a_truncated_file_of_the_model_is_named(name, tmp_path):
    shutil.copytree(FIXTURES / "a", tmp_path, dirs_exist_ok=True, ignore=shutil.ignore_patterns("cases"))
    path = tmp_path / "lyra" / name
    os.truncate(path, path.stat().st_size // 2)
    fails(generate("--model", tmp_path / "lyra", "--prompt", "x"), path)
    fails(lyra("inspect", tmp_path / "lyra"), path)


@pytest.mark.parametrize(
    "content", [b"", b"RIFF", b"no sound " * 1000, b"RIFF\xff\xff\xff\xffWAVEfmt \xff\xff\xff\xff" + b"\xff" * 100],
    ids=["empty", "header", "text", "lengths"])
def test_damaged_audio_is_named(content, tmp_path):
    audio = tmp_path / "damaged.wav"
    audio.write_bytes(content)
    fails(generate("--audio", audio), audio)


def test_an_empty_recording_is_noted_once(tmp_path):
    audio = tmp_path / "empty.wav"
    audio.write_bytes(b"")
    ended = generate("--audio", audio)
    fails(ended, "empty: 0 bytes")
    assert ended.stderr.count("empty: 0 bytes") == 1


def test_audio_that_is_not_a_number_is_named(tmp_path):
    audio = tmp_path / "nan.wav"
    write_wav(audio, [0.1] * 1000 + [float("nan")] * 1000)
    fails(generate("--audio", audio), audio)


def test_missing_audio_is_named(tmp_path):
    fails(generate("--audio", tmp_path / "nowhere.wav"), tmp_path / "nowhere.wav", "No such file")


def test_a_directory_as_audio_is_named(tmp_path):
    fails(generate("--audio", tmp_path), tmp_path)


def test_an_unknown_adapter_is_named_with_the_known_ones():
    fails(generate("--prompt", "x", "--adapter", "nobody"), "nobody", "long_speech", "speech")


# The file system of /proc refuses even root.
@pytest.mark.parametrize("path", ["/nowhere/out.wav", "/proc/self/out.wav", "/dev/full"])
def test_an_output_of_speech_that_cannot_be_written_is_named_before_the_work(path):
    ended = generate("--prompt", "x", "--speak", path)
    fails(ended, path)
    assert ended.stdout == ""


def test_a_directory_as_output_of_speech_is_named(tmp_path):
    directory = tmp_path / "directory"
    directory.mkdir()
    ended = generate("--prompt", "x", "--speak", directory)
    fails(ended, directory)
    assert ended.stdout == "" and os.listdir(tmp_path) == ["directory"] and os.listdir(directory) == []


def test_a_full_disk_is_an_error_and_leaves_no_partial_file(tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))

    wav = tmp_path / "out.wav"
    wav.write_bytes(b"older")
    fails(generate("--prompt", "Hello", "--speak", wav, preexec_fn=limit), wav)
    assert os.listdir(tmp_path) == ["out.wav"] and wav.read_bytes() == b"older"


@pytest.mark.parametrize("arguments", [("generate", *model_of("a"), "--prompt", "x", "--max-tokens", 3),
                                       ("generate", *model_of("a"), "--prompt", "x", "--max-tokens", 3, "--json"),
                                       ("inspect", FIXTURES / "a/lyra"), ("inspect", FIXTURES / "a/lyra", "--json")],
                         ids=["text", "object", "table", "inspect object"])
def test_a_full_disk_for_stdout_is_a_failure(arguments):
    with open("/dev/full", "w") as full:
        fails(lyra(*arguments, stdout=full), "No space left")


def test_a_closed_pipe_is_not_a_failure():
    read, write = os.pipe()
    os.close(read)
    with os.fdopen(write, "w") as pipe:
        ended = generate("--prompt", "x", stdout=pipe)
    assert (ended.returncode, ended.stderr) == (0, "")


def test_a_failure_leaves_no_file_of_speech(tmp_path):
    fails(generate("--audio", tmp_path / "nowhere.wav", "--speak", tmp_path / "out.wav"), "nowhere.wav")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "arguments",
    [
        ("--bogus",), ("--max-tokens", "0"), ("--max-tokens", "many"), ("--max-tokens", "99999999999999999999"),
        ("--temperature", "warm"), ("--temperature=-1",), ("--temperature", "nan"), ("--temperature", "inf"),
        ("--top-p", "2"), ("--top-p=-0.1",), ("--top-p", "nan"), ("--top-k=-1",), ("--top-k", "1.5"), ("--min-p", "2"),
        ("--repetition-penalty", "0"), ("--repetition-penalty", "inf"), ("--seed=1.5",), ("--seed", "x"),
        ("--threads", "0"), ("--threads", "x"), ("--prompt",), ("loose words",), ("--image",),
        ("--max-frames", "0"), ("--max-pixels", "100"),
    ],
    ids=" ".join)
def test_wrong_usage_of_generate_is_64(arguments):
    ended = generate("--prompt", "x", *arguments)
    is_wrong_usage(ended, arguments[0].split("=")[0])


@pytest.mark.parametrize(
    "arguments",
    [
        ("generate",), ("generate", *model_of("a")), ("inspect", "x", "y"), ("make-tiny",), ("no-such-command",),
        ("bench", "--preset", "huge"), ("bench", "--dtype", "f8"), ("bench", "--repetitions", "0"),
        ("make-tiny", "x", "--preset", "huge"), ("make-tiny", "x", "--seed", "x"), ("make-tiny", "x", "--layers", "0"),
    ],
    ids=lambda arguments: " ".join(map(str, arguments[:3])))
def test_wrong_usage_of_a_command_is_64(arguments, tmp_path):
    is_wrong_usage(lyra(*arguments, cwd=tmp_path))
    assert os.listdir(tmp_path) == []
