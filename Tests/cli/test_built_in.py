"""lyra:nano, the model inside the tool, and commands that name no model."""

import json
import os

import pytest

from support import FIXTURES, ROOT, fails, is_wrong_usage, lyra

FILE = ROOT / "Sources/CNano/weights/nano.gguf"
GREEDY = ("--prompt", "What is two plus two?", "--temperature", "0", "--max-tokens", "6")
MEDIA = ROOT / "examples/media"
NOTICE = "lyra: no {}: using lyra:nano, a small model to try lyra with\n"


# Set to test a tool that was built without Nano.
IS_ABSENT = os.environ.get("LYRA_NANO") == "absent"


@pytest.fixture
def nano():
    if IS_ABSENT:
        pytest.skip("the tool was built without Nano")


@pytest.fixture
def no_nano():
    if not IS_ABSENT:
        pytest.skip("the tool was built with Nano")


def test_a_tool_without_it_says_how_to_get_it(no_nano):
    fails(lyra("inspect", "lyra:nano"), "lyra:nano", "package trait Nano", "build.sh")
    fails(lyra("generate", "--model", "lyra:nano", *GREEDY), "lyra:nano", "build.sh")
    is_wrong_usage(lyra("generate", *GREEDY), "Missing expected argument '--model <path>'")
    is_wrong_usage(lyra("inspect"), "Missing expected argument '<model>'")
    assert "lyra make-tiny tiny" in lyra("--help").stdout


def test_it_answers_like_its_file(nano):
    inside, file = (lyra("generate", "--model", model, *GREEDY) for model in ("lyra:nano", FILE))
    assert (inside.returncode, inside.stderr, inside.stdout) == (0, "", file.stdout)


@pytest.mark.parametrize("options, answer", [
    (("--prompt", "What is two plus two?"), "Four."),
    (("--prompt", "what colour is the sky"), "Blue."),
    (("--prompt", "Who was Napoleon?"), "I do not know."),
    (("--audio", MEDIA / "sky.wav"), "Blue."),
    (("--audio", MEDIA / "kitchen.wav"), "light.on kitchen"),
    (("--audio", MEDIA / "sky.wav", "--prompt", "Write down what you hear."), "What colour is the sky?"),
    (("--image", MEDIA / "shapes.png", "--prompt", "Where is the orange circle?"), "On the right."),
    (("--image", MEDIA / "shapes.png", "--audio", MEDIA / "where.wav"), "At the bottom right."),
])
def test_it_answers_right_on_every_processor(nano, options, answer):
    for precision in ("fast", "exact"):
        for instructions in ("generic", "avx2", ""):
            ended = lyra(
                "generate", "--model", "lyra:nano", "--temperature", "0", "--precision", precision, *options,
                env={**os.environ, "LYRA_ISA": instructions})
            assert (ended.returncode, ended.stdout) == (0, answer + "\n"), (precision, instructions)


@pytest.mark.parametrize("question, answer", [
    ("What is nine plus eight?", "Seventeen."),
    ("Say: The key is on the table.", "The key is on the table."),
    ("Say: The door in the kitchen is open.", "The door in the kitchen is open."),
])
def test_it_understands_these_answers_of_its_own(nano, tmp_path, question, answer):
    spoken = tmp_path / "answer.wav"
    asked = lyra("generate", "--model", "lyra:nano", "--temperature", "0", "--prompt", question, "--speak", spoken)
    assert asked.stdout == answer + "\n"
    heard = lyra(
        "generate", "--model", "lyra:nano", "--temperature", "0", "--audio", spoken, "--prompt",
        "Write down what you hear.")
    assert heard.stdout == answer + "\n"


def test_it_is_the_model_of_a_command_without_one(nano, tmp_path):
    named = lyra("generate", "--model", "lyra:nano", *GREEDY)
    ended = lyra("generate", *GREEDY, cwd=tmp_path)
    assert (ended.returncode, ended.stderr, ended.stdout) == (0, NOTICE.format("--model"), named.stdout)
    ended = lyra("inspect", "--json")
    assert (ended.returncode, ended.stderr) == (0, NOTICE.format("model"))
    got = json.loads(ended.stdout)
    assert got["model"] == "lyra:nano" and {part["source"] for part in got["parts"]} == {"lyra:nano"}
    for command in ("generate", "inspect", "chat", "eval wer", "eval qa", "eval needle", "logits"):
        assert "(default: lyra:nano)" in " ".join(lyra(*command.split(), "--help").stdout.split())
    assert "lyra generate --prompt" in lyra("--help").stdout


def test_it_is_converted_but_not_rewritten(nano, tmp_path):
    lines = []
    for model in ("lyra:nano", FILE):
        out = tmp_path / "out.gguf"
        assert lyra("convert", model, "-o", out, "--type", "bf16").returncode == 0
        lines.append(lyra("generate", "--model", out, *GREEDY).stdout)
    assert lines[0] == lines[1]
    ended = lyra("merge-lora", "lyra:nano", "--adapter", "speech", "-o", tmp_path / "merged")
    fails(ended, "lyra:nano: a one-file model cannot be rewritten")


def test_a_directory_of_its_name_is_opened_by_its_path(tmp_path):
    (tmp_path / "lyra:nano").symlink_to(FIXTURES / "a/lyra")
    (tmp_path / "lyra:own").symlink_to(FIXTURES / "a/lyra")
    for name in ("lyra:nano", "lyra:own"):
        ended = lyra("inspect", f"./{name}", "--json", cwd=tmp_path)
        assert ended.returncode == 0 and json.loads(ended.stdout)["model"] == f"./{name}"
    fails(lyra("inspect", "lyra:own", cwd=tmp_path), '"lyra:own"', "no built-in model of this name", "./")


def test_an_adapter_is_trained_on_it(nano, tmp_path):
    data = tmp_path / "data.jsonl"
    turns = [{"from": "human", "value": "Who are you?"}, {"from": "gpt", "value": "Nano."}]
    data.write_text(json.dumps({"conversations": turns}) + "\n")
    train = lambda *arguments: lyra("train", "--model", "lyra:nano", "--data", data, *arguments)
    ended = train("--stage", 2, "--adapter", "own", "--steps", 2, "--out", tmp_path / "run")
    assert ended.returncode == 0, ended.stderr
    adapter = ("--adapter-dir", f"own={tmp_path}/run/own_lora", "--adapter", "own")
    ended = lyra("generate", "--model", "lyra:nano", *adapter, *GREEDY)
    assert (ended.returncode, ended.stderr) == (0, "")
    ended = train("--stage", "pretrain", "--steps", 2, "--out", tmp_path / "whole")
    fails(ended, "lyra:nano: a one-file model cannot be rewritten")
