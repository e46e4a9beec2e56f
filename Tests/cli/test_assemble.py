"""What `assemble` makes of open parts, and how `generate` runs a plain Qwen2-VL."""

import json
import os
import shutil
import signal
import struct
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from support import FIXTURES, TOOL, fails, is_wrong_usage, lyra, read_safetensors, write_wav

QWEN = FIXTURES / "qwen2vl"
# Fixture b's language model is wider than Qwen2-VL's here, but its tower fits any language model.
WHISPER = FIXTURES / "b/model_zoo/audio/whisper-tiny"


def answers():
    """The tensors of answers.safetensors, the picture as uint8."""
    return read_safetensors(QWEN / "answers.safetensors")


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "picture.png"
    Image.fromarray(np.ascontiguousarray(answers()["picture"])).save(path)
    return path


def generate(model, *arguments):
    return lyra("generate", "--model", model, "--temperature", 0, "--max-tokens", 12, "--json", *arguments)


def assemble(output, *arguments, llm=QWEN / "published", **options):
    return lyra("assemble", "--llm", llm, "-o", output, *arguments, **options)


def contents(directory):
    return sorted(str(path.relative_to(directory)) for path in directory.rglob("*") if path.is_file())


@pytest.mark.parametrize("layout", ["published", "newer"])
def test_a_plain_qwen2vl_answers_about_a_picture_as_transformers_does(layout, picture):
    ended = generate(QWEN / layout, "--image", picture, "--prompt", "Describe it.")
    assert (ended.returncode, ended.stderr) == (0, "")
    assert json.loads(ended.stdout)["token_ids"] == answers()[f"{layout}.picture.ids"].tolist()


def test_a_plain_qwen2vl_says_what_it_lacks(tmp_path):
    write_wav(tmp_path / "beep.wav", np.sin(np.arange(16000) / 8))
    model = QWEN / "published"
    fails(generate(model, "--audio", tmp_path / "beep.wav"), model, "no speech tower", "lyra assemble")
    fails(generate(model, "--sound", tmp_path / "beep.wav"), model, "no sound projector")
    fails(generate(model, "--prompt", "Hi", "--speak", tmp_path / "out.wav"), "no speech generator")
    assert not (tmp_path / "out.wav").exists()


def test_it_makes_a_checkpoint_that_hears_and_sees_and_notes_what_is_missing(tmp_path, picture):
    made = tmp_path / "made"
    ended = assemble(made, "--speech-tower", WHISPER, "--seed", 3)
    assert (ended.returncode, ended.stdout) == (0, "")
    *notes, last = ended.stderr.splitlines()
    assert last.startswith(f"wrote {made}: linked ") and all(note.startswith("note: ") for note in notes)
    for part in ("seed 3", "speech_lora", "long_speech_lora", "speech generator", "vocoder", "sound tower"):
        assert any(part in note for note in notes), part
    write_wav(tmp_path / "beep.wav", np.sin(np.arange(16000) / 8))
    heard = generate(made, "--audio", tmp_path / "beep.wav", "--prompt", "What is said?")
    assert (heard.returncode, heard.stderr) == (0, "")
    usage = json.loads(heard.stdout)["usage"]
    assert usage["media_tokens"] == 300
    seen = generate(made, "--image", picture, "--prompt", "Describe it.")
    assert json.loads(seen.stdout)["token_ids"] == answers()["published.picture.ids"].tolist()
    assert os.listdir(tmp_path) and sorted(os.listdir(tmp_path)) == ["beep.wav", "made"]


def test_the_same_seed_gives_the_same_projector(tmp_path):
    for name, seed in (("one", 5), ("two", 5), ("three", 6)):
        assert assemble(tmp_path / name, "--speech-tower", WHISPER, "--seed", seed).returncode == 0
    one, two, three = ((tmp_path / n / "speech_projector.safetensors").read_bytes() for n in ("one", "two", "three"))
    assert one == two != three


def test_weights_are_linked_and_survive_without_the_source_only_if_copied_or_hard(tmp_path):
    source = tmp_path / "qwen"
    shutil.copytree(QWEN / "published", source)
    assert assemble(tmp_path / "linked", llm=source).returncode == 0
    assert assemble(tmp_path / "copied", "--copy", llm=source).returncode == 0
    shard = "model-00001-of-00001.safetensors"
    original = (source / "model.safetensors").stat()
    assert (tmp_path / "linked" / shard).stat().st_ino == original.st_ino
    assert (tmp_path / "copied" / shard).stat().st_ino != original.st_ino
    assert not (tmp_path / "linked" / shard).is_symlink()


def test_a_source_that_is_a_link_is_followed(tmp_path):
    """As in the hub's cache, where a snapshot is links to blobs."""
    source = tmp_path / "snapshot"
    shutil.copytree(QWEN / "published", source)
    (tmp_path / "blob").write_bytes((source / "model.safetensors").read_bytes())
    (source / "model.safetensors").unlink()
    (source / "model.safetensors").symlink_to("../blob")
    assert assemble(tmp_path / "deep/er", llm=source).returncode == 1
    assert assemble(tmp_path / "made", llm=source).returncode == 0
    ended = generate(tmp_path / "made", "--prompt", "Hello! Who are you?")
    assert json.loads(ended.stdout)["token_ids"] == answers()["published.text.ids"].tolist()


def test_where_no_hard_link_is_possible_a_symbolic_one_is_made(tmp_path):
    other = "/dev/shm"
    if not os.path.isdir(other) or os.stat(other).st_dev == os.stat(QWEN).st_dev:
        pytest.skip("there is no second file system here")
    made = f"{other}/lyra-assemble-{os.getpid()}"
    try:
        assert assemble(made).returncode == 0
        shard = f"{made}/model-00001-of-00001.safetensors"
        assert os.path.realpath(shard) == os.path.realpath(QWEN / "published/model.safetensors") != shard
        ended = generate(made, "--prompt", "Hello! Who are you?")
        assert json.loads(ended.stdout)["token_ids"] == answers()["published.text.ids"].tolist()
    finally:
        shutil.rmtree(made, ignore_errors=True)


@pytest.mark.parametrize("arguments, parts", [
    (("--vision-tower", FIXTURES / "b/model_zoo/vision/Qwen2VL_tiny_ViT"), ["hidden_size 96", "hidden_size 64"]),
    (("--speech-tower", "/nope"), ["/nope"]),
    (("--speech-tower", WHISPER, "--speech-projector", FIXTURES / "a/lyra/speech_lora/non_lora_trainables.bin"),
        ["non_lora_trainables.bin", "240", "width 32"]),
    (("--speech-projector", FIXTURES / "a/lyra/speech_lora/non_lora_trainables.bin"), ["needs a speech tower"]),
    (("--adapter", FIXTURES / "b/lyra/speech_lora"), ["speech_lora"]),
    (("--sound-tower", FIXTURES / "a/model_zoo/audio/vocoder/g_00500000"), ["ImageBind"]),
    (("--vocoder", "/nope"), ["/nope"]),
])
def test_what_does_not_belong_together_is_named_and_nothing_stays(arguments, parts, tmp_path):
    fails(assemble(tmp_path / "made", *arguments), *parts)
    assert os.listdir(tmp_path) == []


def test_a_place_that_is_taken_is_left_alone(tmp_path):
    (tmp_path / "mine").write_bytes(b"kept")
    fails(assemble(tmp_path), tmp_path, "empty directory")
    assert contents(tmp_path) == ["mine"]


def test_wrong_usage_is_told():
    is_wrong_usage(lyra("assemble", "-o", "x"), "--llm")
    is_wrong_usage(lyra("assemble", "--llm", "x"), "--output")


def test_a_signal_in_the_middle_leaves_nothing(tmp_path):
    """Large weights are copied, so that there is a middle."""
    source, padding = tmp_path / "qwen", 300_000_000
    shutil.copytree(QWEN / "published", source)
    data = (source / "model.safetensors").read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, end = json.loads(data[8:8 + length]), len(data) - 8 - length
    header["padding"] = {"dtype": "U8", "shape": [padding], "data_offsets": [end, end + padding]}
    text = json.dumps(header).encode()
    (source / "model.safetensors").write_bytes(struct.pack("<Q", len(text)) + text + data[8 + length:])
    os.truncate(source / "model.safetensors", 8 + len(text) + end + padding)
    made = tmp_path / "made"
    process = subprocess.Popen(
        [TOOL, "assemble", "--llm", source, "--copy", "-o", made], stderr=subprocess.PIPE, encoding="utf-8")
    while process.poll() is None and not list(tmp_path.glob("made.*.partial")):
        time.sleep(0.001)
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert made.exists() == (process.returncode == 0)
    assert not list(tmp_path.glob("made.*"))
