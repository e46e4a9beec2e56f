"""lyra:nano, the model inside the tool, if there is one, and commands that name no model."""

import json

import pytest

from support import FIXTURES, ROOT, fails, is_wrong_usage, lyra

FILE = ROOT / "Sources/CNano/weights/nano.gguf"
GREEDY = ("--prompt", "What is two plus two?", "--temperature", "0", "--max-tokens", "6")
NOTICE = "lyra: no {}: using lyra:nano, a small model to try lyra with\n"


@pytest.fixture(scope="module")
def has_nano():
    ended = lyra("inspect", "lyra:nano")
    assert ended.returncode == 0 or "does not have its built-in model" in ended.stderr
    return ended.returncode == 0


@pytest.fixture
def nano(has_nano):
    if not has_nano:
        pytest.skip("the tool was built without Nano")


@pytest.fixture
def no_nano(has_nano):
    if has_nano:
        pytest.skip("the tool was built with Nano")


def test_a_tool_without_it_says_how_to_get_it(no_nano):
    fails(lyra("inspect", "lyra:nano"), "lyra:nano", "swift build --traits Nano", "build.sh --nano")
    fails(lyra("generate", "--model", "lyra:nano", *GREEDY), "lyra:nano", "build.sh --nano")
    is_wrong_usage(lyra("generate", *GREEDY), "Missing expected argument '--model <path>'")
    is_wrong_usage(lyra("inspect"), "Missing expected argument '<model>'")
    assert "lyra make-tiny tiny" in lyra("--help").stdout


def test_it_answers_like_its_file(nano):
    inside, file = (lyra("generate", "--model", model, *GREEDY) for model in ("lyra:nano", FILE))
    assert (inside.returncode, inside.stderr, inside.stdout) == (0, "", file.stdout)


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
