"""`train`: each stage from its data to a result that other commands open."""

import json
import os
import re
import shutil
import signal
import subprocess
import time

import pytest

from support import FIXTURES, TOOL, fails, lyra, read_wav

ANSWERS = ("A tone.", "It rises and falls.")


def train(stage, tiny, items, out, *options):
    """Four updates, of which the first has a learning rate of 0. → the log"""
    data = out.parent / "data.jsonl"
    data.write_text("".join(json.dumps(item) + "\n" for item in items))
    ended = lyra(
        "train", "--stage", stage, "--model", tiny, "--data", data, "--out", out, "--steps", 4, "--batch", 2,
        "--threads", 1, *options)
    assert (ended.returncode, ended.stdout) == (0, ""), ended
    log = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
    assert [line["examples"] for line in log] == [2, 4, 6, 8]
    return log


def conversations(media, **keys):
    return [
        {"id": answer, **media, **keys, "conversations": [
            {"from": "human", "value": "What is heard?"}, {"from": "gpt", "value": answer}]}
        for answer in ANSWERS]


def hears(model, *options):
    """Whether a model answers a question about a recording. → the JSON"""
    ended = lyra("generate", "--model", model, *options, "--max-tokens", 4, "--temperature", 0, "--json")
    assert ended.returncode == 0, ended
    return json.loads(ended.stdout)


def test_stage_1_writes_a_projector_that_assemble_takes(recordings, tmp_path):
    def assemble(name, *options):
        parts = ("--llm", FIXTURES / "qwen2vl/published", "--speech-tower", FIXTURES / "b/model_zoo/audio/whisper-tiny")
        ended = lyra("assemble", *parts, "-o", tmp_path / name, *options)
        assert ended.returncode == 0, ended
        return tmp_path / name

    start, items = assemble("start"), conversations({"speech": str(recordings["a_short"])})
    log = train(1, start, items, tmp_path / "run")
    assert log[-1]["cross_entropy"] < log[0]["cross_entropy"]
    trained = assemble("trained", "--speech-projector", tmp_path / "run/non_lora_trainables.bin")
    hears(trained, "--audio", recordings["a_short"])
    # Each update has both examples, and the first is computed before anything changes.
    assert train(1, trained, items, tmp_path / "next")[0]["cross_entropy"] < log[0]["cross_entropy"]


def test_a_projector_of_stage_1_takes_the_place_of_the_checkpoints(tiny, recordings, tmp_path):
    items = conversations({"speech": str(recordings["a_short"])})
    folders = [tmp_path / str(number) for number in range(4)]
    for folder in folders:
        folder.mkdir()
    given = ("--speech-projector", folders[0] / "run/non_lora_trainables.bin")
    fresh = train(1, tiny, items, folders[0] / "run")
    # The first update has a learning rate of 0: its loss is that of the start.
    start = train(1, tiny, items, folders[1] / "run", *given)[0]["cross_entropy"]
    assert start < fresh[0]["cross_entropy"]
    # A whole model that a run writes has the projector that the run was given.
    train(4, tiny, conversations({}, tgt_units=[3, 17]), folders[2] / "run", *given)
    written = train(1, folders[2] / "run/model", items, folders[3] / "run")[0]["cross_entropy"]
    # Its weights are rounded to the checkpoint's type.
    assert abs(written - start) < 0.1 * (fresh[0]["cross_entropy"] - start)
    again = ("train", "--model", tiny, "--data", folders[0] / "data.jsonl", "--steps", 1, *given)
    fails(lyra(*again, "--stage", 1, "--no-resume", "--out", folders[0] / "run"), "the run starts from this projector")
    # The adapter speech of the checkpoint has a projector of its own, and so the run would not use the given one.
    fails(lyra(*again, "--stage", 2, "--out", tmp_path / "other"), "has a speech projector of its own")


def test_an_adapter_without_a_projector_gets_the_one_that_it_was_trained_with(tiny, recordings, tmp_path):
    items = conversations({"speech": str(recordings["a_short"])})
    base, projector = tmp_path / "base", tmp_path / "1/run/non_lora_trainables.bin"
    shutil.copytree(tiny, base, ignore=shutil.ignore_patterns("non_lora_trainables.bin"))
    for name in "12345":
        (tmp_path / name).mkdir()
    train(1, tiny, items, tmp_path / "1/run")
    train(2, base, items, tmp_path / "2/run", "--train", "adapter", "--speech-projector", projector)
    adapter, bare = tmp_path / "2/run/speech_lora", tmp_path / "bare"
    shutil.copytree(adapter, bare, ignore=shutil.ignore_patterns("non_lora_trainables.bin"))

    def loss_at_start(name, start, *options):
        recipe = tmp_path / "recipe.toml"
        recipe.write_text(f'stage = 2\ntrained = ["adapter"]\n[adapter]\nstart = "{start}"\ndropout = 0.0\n')
        return train(2, base, items, tmp_path / name / "run", "--recipe", recipe, *options)[0]["cross_entropy"]

    written = loss_at_start("3", adapter)
    assert written == pytest.approx(loss_at_start("4", bare, "--speech-projector", projector), rel=1e-5)
    assert written != pytest.approx(loss_at_start("5", bare), rel=1e-3)


def test_stage_3_writes_an_adapter_for_long_recordings(tiny, recordings, tmp_path):
    long = recordings["a_long"]
    train(3, tiny, conversations({"speech": str(long)}), tmp_path / "run", "--extractor", "blocks=2,keep=0.7")
    adapter = tmp_path / "run/long_speech_lora"
    assert json.loads((adapter / "adapter_config.json").read_text())["r"] > 0
    hears(tiny, "--adapter-dir", f"long_speech={adapter}", "--audio", long)


def test_stage_4_writes_a_model_that_speaks(tiny, tmp_path):
    items = conversations({}, tgt_units=[3, 17, 17, 42, 5])
    log = train(4, tiny, items, tmp_path / "run")
    assert all(line["ctc"] > 0 for line in log)
    ended = lyra(
        "generate", "--model", tmp_path / "run/model", "--prompt", "What is heard?", "--max-tokens", 4, "--speak",
        tmp_path / "answer.wav")
    assert ended.returncode == 0, ended
    read_wav(tmp_path / "answer.wav")


def test_stage_4_makes_a_speech_generator_for_an_assembled_checkpoint(tmp_path):
    start, run = tmp_path / "start", tmp_path / "run"
    assembled = lyra("assemble", "--llm", FIXTURES / "qwen2vl/published", "-o", start)
    assert assembled.returncode == 0 and "stage 4 of the training makes one" in assembled.stderr, assembled
    recipe = tmp_path / "voice.toml"
    recipe.write_text(
        "stage = 4\n[generator]\nlayers = 1\ndim = 32\nheads = 2\ninner = 64\nunits = 100\nupsampling = 5\n")
    items = conversations({}, tgt_units=[3, 17, 17, 42, 5])
    log = train(4, start, items, run, "--recipe", recipe)
    assert all(line["ctc"] > 0 for line in log)
    configuration = json.loads((run / "model/config.json").read_text())
    assert configuration["ctc_decoder_config"] == "(1,32,2,64)" and configuration["unit_vocab_size"] == 100
    vocoder = FIXTURES / "a/model_zoo/audio/vocoder"
    question = ("--prompt", "What is heard?", "--max-tokens", 4, "--temperature", 0, "--json")
    speak = ("generate", "--model", run / "model", *question, "--speak", tmp_path / "answer.wav")
    fails(lyra(*speak), "no vocoder was found")
    ended = lyra(*speak, "--vocoder", vocoder)
    assert ended.returncode == 0, ended
    assert json.loads(ended.stdout)["units"]
    read_wav(tmp_path / "answer.wav")
    # What the recipe says must be what the checkpoint now has.
    again = ("train", "--stage", 4, "--model", run / "model", "--data", tmp_path / "data.jsonl", "--steps", 1)
    refused = lyra(*again, "--recipe", write(recipe, "[generator]\nunits = 50\n"), "--out", tmp_path / "other")
    fails(refused, "generator.units is 50, but the checkpoint's is 100")
    ended = lyra(*again, "--out", tmp_path / "next")
    assert ended.returncode == 0, ended


def write(path, text):
    path.write_text(text)
    return path


def test_a_run_that_diverges_is_an_error_without_a_result(tiny, recordings, tmp_path):
    data, out = tmp_path / "data.json", tmp_path / "run"
    data.write_text(json.dumps(conversations({"speech": str(recordings["a_short"])}, speech_asr="a tone")))
    ended = lyra(
        "train", "--stage", 2, "--model", tiny, "--data", data, "--out", out, "--steps", 4, "--batch", 2,
        "--learning-rate", 1e9, "--threads", 1)
    assert ended.returncode == 1, ended
    # The first update has a learning rate of 0; the second changes the adapter.
    for words in ("2 updates in a row, 3 to 4,", "cross_entropy is not a number", "a lower optimizer.learning_rate"):
        assert words in ended.stderr.splitlines()[-1]
    assert re.search(r"lcmr \d\.\d+e\+\d\d\)", ended.stderr), ended.stderr
    assert not (out / "speech_lora").exists() and not list((out / "states").glob("*.safetensors"))


def test_stage_1_without_speech_fails_after_the_first_epoch(tiny, tmp_path):
    data = tmp_path / "data.json"
    data.write_text(json.dumps(conversations({})))
    ended = lyra("train", "--stage", 1, "--model", tiny, "--data", data, "--out", tmp_path / "run", "--epochs", 3)
    fails(ended, "nothing was trained", "no example has speech")
    assert not (tmp_path / "run").exists()


def test_a_run_whose_examples_are_all_bad_trains_nothing(tiny, tmp_path):
    data = tmp_path / "data.json"
    data.write_text(json.dumps(conversations({"speech": "absent.wav"})))
    ended = lyra(
        "train", "--stage", 1, "--model", tiny, "--data", data, "--out", tmp_path / "run", "--steps", 1, "--batch", 2)
    assert ended.returncode == 1 and "nothing was trained" in ended.stderr and "absent.wav" in ended.stderr, ended
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("trained", [("all",), ("language_model", "vision_tower")])
def test_pretrain_writes_a_whole_model(tiny, pictures, tmp_path, trained):
    items = conversations({"image": str(pictures["a_small"])})
    options = [part for name in trained for part in ("--train", name)]
    log = train("pretrain", tiny, items, tmp_path / "run", *options)
    assert log[-1]["cross_entropy"] < log[0]["cross_entropy"]
    before, after = (hears(model, "--image", pictures["a_small"]) for model in (tiny, tmp_path / "run/model"))
    assert before.keys() == after.keys()


def test_a_second_run_in_the_same_directory_changes_nothing(tiny, recordings, tmp_path):
    data, out = tmp_path / "data.json", tmp_path / "run"
    data.write_text(json.dumps(conversations({"speech": str(recordings["a_short"])})))
    command = (
        "train", "--stage", 2, "--model", tiny, "--adapter", "other", "--data", data, "--out", out, "--batch", 2,
        "--threads", 1, "--steps", 4)
    first = subprocess.Popen([TOOL, *map(str, command)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    end = time.monotonic() + 120
    while not (out / "states/fresh_adapter").is_dir():
        assert first.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    # It prepares the run: nothing is trained or logged yet.
    first.send_signal(signal.SIGSTOP)
    os.waitpid(first.pid, os.WUNTRACED)
    try:
        before = sorted(out.glob("**/*"))
        fails(lyra(*command), "another run writes to it")
        fails(lyra(*command, "--no-resume"), "another run writes to it")
        assert sorted(out.glob("**/*")) == before
    finally:
        first.send_signal(signal.SIGCONT)
    _, notes = first.communicate(timeout=120)
    assert first.returncode == 0, notes
    assert len((out / "log.jsonl").read_text().splitlines()) == 4
    assert (out / "other_lora/adapter_config.json").exists()
