"""`train`: a run that is killed or interrupted continues to the same numbers; recipes; failures."""

import io
import json
import resource
import shutil
import signal
import struct
import subprocess
import time
import tomllib
import zipfile

import pytest

from support import FIXTURES, ROOT, TOOL, fails, is_wrong_usage, lyra

PATIENCE = 60
STEPS = 8


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Four questions with answers, as LLaVA has them."""
    path = tmp_path_factory.mktemp("data") / "train.json"
    turns = [("Say one", "1"), ("Say two", "2 2"), ("And three?", "3, 3, 3"), ("Four", "four")]
    path.write_text(json.dumps([
        {"id": str(index), "conversations": [{"from": "human", "value": asked}, {"from": "gpt", "value": answer}]}
        for index, (asked, answer) in enumerate(turns)]))
    return path


@pytest.fixture(scope="module")
def command(tiny, data):
    return ("train", "--stage", 2, "--model", tiny, "--data", data, "--validation", data, "--steps", STEPS,
            "--batch", 2, "--learning-rate", 0.01, "--seed", 3, "--threads", 1, "--save-every", 0)


@pytest.fixture(scope="module")
def whole(command, tmp_path_factory):
    """The output of a run that nothing interrupts."""
    out = tmp_path_factory.mktemp("whole") / "run"
    ended = lyra(*command, "--out", out)
    assert (ended.returncode, ended.stdout) == (0, ""), ended
    assert ended.stderr.splitlines()[-1] == f"wrote {out}/speech_lora"
    return out


def lines(out):
    """The log without times and speeds."""
    return [
        {key: value for key, value in json.loads(line).items() if "second" not in key}
        for line in (out / "log.jsonl").read_text().splitlines()]


def are_the_same(out, whole):
    assert lines(out) == lines(whole)
    for name in ("adapter_model.safetensors", "non_lora_trainables.bin"):
        assert (out / "speech_lora" / name).read_bytes() == (whole / "speech_lora" / name).read_bytes()


def run_until(steps, command, out):
    """Starts a run. → the process, once the log has this many lines"""
    process = subprocess.Popen(
        [TOOL, *map(str, command), "--out", str(out)], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
    end = time.monotonic() + PATIENCE
    while not (out / "log.jsonl").exists() or (out / "log.jsonl").read_bytes().count(b"\n") < steps:
        assert process.poll() is None and time.monotonic() < end
        time.sleep(0.005)
    return process


def test_the_log_has_a_line_for_each_update_and_the_loss_falls(whole):
    updates = [line for line in lines(whole) if "loss" in line]
    assert [line["step"] for line in updates] == list(range(1, STEPS + 1))
    assert updates[-1]["examples"] == 2 * STEPS and updates[0]["learning_rate"] == 0
    # One epoch is two updates.
    assert updates[-1]["epoch"] == STEPS / 2 and updates[-1]["cross_entropy"] == updates[-1]["loss"]
    (validation,) = [line for line in lines(whole) if "validation_loss" in line]
    # The first two updates have all the examples.
    first = (updates[0]["loss"] + updates[1]["loss"]) / 2
    assert validation["step"] == STEPS and validation["validation_loss"] < 0.9 * first
    config = json.loads((whole / "speech_lora/adapter_config.json").read_text())
    assert config["peft_type"] == "LORA" and config["r"] > 0


def test_after_kill_9_the_run_continues_to_the_same_numbers(command, whole, tmp_path):
    out = tmp_path / "run"
    for steps in (2, 5):
        process = run_until(steps, command, out)
        process.kill()
        process.communicate(timeout=PATIENCE)
    ended = lyra(*command, "--out", out)
    assert ended.returncode == 0 and f"of {STEPS}" in ended.stderr, ended
    are_the_same(out, whole)
    assert not list(out.glob("**/*.partial")), "what was being written is removed"


def test_ctrl_c_saves_and_the_same_command_continues(command, whole, tmp_path):
    out = tmp_path / "run"
    process = run_until(3, (*command, "--save-every", 60), out)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1 and b"is saved, and the same command continues" in err
    assert len(list((out / "states").glob("*.safetensors"))) == 1
    assert lyra(*command, "--out", out).returncode == 0
    are_the_same(out, whole)
    # A run that has ended is written again, with --resume too.
    assert lyra(*command, "--out", out, "--resume").returncode == 0
    are_the_same(out, whole)


def test_another_recipe_is_refused_with_the_difference_or_begins_anew(command, whole, tmp_path):
    out = tmp_path / "run"
    process = run_until(2, command, out)  # the first state is saved before the second update
    process.kill()
    process.communicate(timeout=PATIENCE)
    changed = (*command, "--out", out, "--learning-rate", 0.5)
    fails(lyra(*changed), out, "optimizer.learning_rate is 0.5, was 0.01")
    fails(lyra(*command, "--out", tmp_path / "new", "--resume"), "no saved state to continue from")
    assert lyra(*changed, "--no-resume").returncode == 0
    assert lines(out)[1] != lines(whole)[1] and len(lines(out)) == len(lines(whole))


def test_a_run_notices_what_its_numbers_depend_on(command, tiny, whole, tmp_path):
    """Paths do not count, but what they lead to does: towers, the adapter to start from, data and their media."""
    towers, adapter, valid = tmp_path / "towers", tmp_path / "start_lora", tmp_path / "valid.jsonl"
    shutil.copytree(tiny / "model_zoo", towers)
    model = tmp_path / "model"
    shutil.copytree(tiny, model, ignore=shutil.ignore_patterns("model_zoo"))
    shutil.copytree(whole / "speech_lora", adapter)
    valid.write_text('{"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]}\n')
    picture = tmp_path / "picture.bmp"  # the header of 40 × 40 pixels of 24 bits, and the pixels
    picture.write_bytes(
        struct.pack("<2sIIIIiiHHIIiiII", b"BM", 4854, 0, 54, 40, 40, 40, 1, 24, 0, 4800, 2835, 2835, 0, 0)
        + bytes(range(100)) * 48)
    examples = tmp_path / "examples.jsonl"
    turns = '[{"from": "human", "value": "<image>\\nWhat?"}, {"from": "gpt", "value": "b"}]'
    examples.write_text(f'{{"image": "picture.bmp", "conversations": {turns}}}\n')
    recipe = tmp_path / "recipe.toml"
    recipe.write_text(f'stage = 2\nadapter.start = "{adapter}"\nbatch.steps = 2\n')
    run = ("train", "--recipe", recipe, "--model", model, "--towers", towers, "--data", examples, "--validation", valid,
           "--threads", 1, "--out", tmp_path / "run")
    assert lyra(*run).returncode == 0
    # What numbers do not depend on can change, and files can move.
    recipe.write_text(recipe.read_text() + "recompute = false\nbatch.bad_share = 0.5\noptimizer.failure_limit = 3\n")
    shutil.copytree(towers, tmp_path / "copy")
    assert lyra(*run, "--towers", tmp_path / "copy").returncode == 0
    whisper = towers / "audio/whisper/model.safetensors"
    for path, words in [
            (whisper, "towers have other weights"), (adapter / "adapter_model.safetensors", "adapter"),
            (adapter / "non_lora_trainables.bin", "adapter"), (valid, "validation.data are other examples"),
            (examples, "data are other examples"), (picture, "media of the examples")]:
        before = path.read_bytes()
        # The same size: a letter of an answer, or floats with another sign.
        after = before.replace(b'"b"', b'"c"') if path.suffix == ".jsonl" else before[:-4096] + bytes(
            byte ^ 0x80 for byte in before[-4096:])
        if path.suffix == ".bin":
            after = changed_storage(before)
        path.write_bytes(after)
        fails(lyra(*run), "is of another run", words)
        path.write_bytes(before)
    assert lyra(*run).returncode == 0


def changed_storage(archive):
    """A torch.save file in whose first large storage numbers have another sign."""
    result = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(result, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if "/data/" in entry.filename and len(data) >= 64:
                data = bytes(byte ^ 0x80 for byte in data)
            new.writestr(entry.filename, data)
    return result.getvalue()


def test_a_damaged_last_state_names_the_one_before(command, tmp_path):
    out = tmp_path / "run"
    assert lyra(*command, "--out", out).returncode == 0
    first, last = sorted((out / "states").glob("*.safetensors"))
    whole = last.read_bytes()
    for damaged in (whole[:len(whole) // 2], whole[:7], whole.replace(b'lyra_run', b'lyra_ran')):
        last.write_bytes(damaged)
        fails(lyra(*command, "--out", out), last, f"to continue after update {STEPS - 1}, from {first}")
    first.write_bytes(b"")
    fails(lyra(*command, "--out", out), last, "begin anew")


def test_a_result_that_cannot_be_written_is_an_error_before_the_first_update(data, command, tiny, tmp_path):
    def fails_early(*arguments, words):
        fails(lyra("train", "--data", data, "--steps", 1, "--out", tmp_path / "run", *arguments), *words)
        assert not (tmp_path / "run/log.jsonl").exists()

    # A tower beside a plain Qwen2-VL.
    plain = tmp_path / "plain"
    shutil.copytree(FIXTURES / "qwen2vl/published", plain)
    tensors = (plain / "model.safetensors").read_bytes()
    (plain / "model.safetensors").write_bytes(tensors.replace(b'"visual.', b'"unused.'))
    vision = ("--stage", "pretrain", "--model", plain, "--towers", FIXTURES / "qwen2vl/published", "--adapter", "none")
    fails_early(*vision, "--train", "vision_tower", words=["a tower beside a plain Qwen2-VL"])
    stage2 = ("--stage", 2, "--model", tiny)
    (tmp_path / "run").mkdir()
    (tmp_path / "run/speech_lora").write_text("a file")
    fails_early(*stage2, words=["speech_lora", "a file is in the place"])
    (tmp_path / "run/speech_lora").unlink()
    (tmp_path / "run/speech_lora").mkdir()
    (tmp_path / "run/speech_lora/adapter_model.safetensors.index.json").write_text("{}")
    fails_early(*stage2, words=["belongs to another adapter"])
    (tmp_path / "run/non_lora_trainables.bin").mkdir()
    fails_early("--stage", 1, "--model", tiny, words=["non_lora_trainables.bin", "a directory is in the place"])


def test_a_full_disk_is_an_error_and_leaves_the_last_state(command, whole, tmp_path):
    out = tmp_path / "run"
    process = run_until(3, command, out)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=PATIENCE)
    before = {path: path.read_bytes() for path in (out / "states").glob("*.safetensors")}
    size = min(map(len, before.values()))

    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (size - 4096, size - 4096))

    ended = lyra(*command, "--out", out, preexec_fn=limit)
    last = ended.stderr.splitlines()[-1]
    assert ended.returncode == 1 and last.startswith(f"lyra: {out}/states/step-") and "File too large" in last
    assert {path: path.read_bytes() for path in (out / "states").iterdir() if path.is_file()} == before
    assert lyra(*command, "--out", out).returncode == 0
    are_the_same(out, whole)


@pytest.mark.parametrize("stage", [1, 2, 3, 4, "pretrain"])
def test_a_printed_recipe_is_toml_and_gives_itself(stage, tmp_path):
    printed = lyra("train", "--stage", stage, "--print-recipe", "--model", 'a"b\\c', "--epochs", 7, "--seed", -1)
    assert (printed.returncode, printed.stderr) == (0, "")
    recipe = tomllib.loads(printed.stdout)
    assert recipe["stage"] == stage and recipe["model"] == 'a"b\\c'
    assert recipe["batch"]["epochs"] == 7 and recipe["seed"] == -1
    assert recipe["optimizer"]["learning_rate"] == {1: 1e-3, 3: 1e-4, "pretrain": 1e-3}.get(stage, 2e-4)
    path = tmp_path / "recipe.toml"
    path.write_text(printed.stdout)
    assert lyra("train", "--recipe", path, "--print-recipe").stdout == printed.stdout
    # Each key that has no value stands there as a comment, which is TOML too.
    uncommented = "\n".join(
        line.removeprefix("# ") if " = " in line and line.startswith("# ") else line
        for line in printed.stdout.splitlines())
    assert "steps" in tomllib.loads(uncommented)["batch"]


def test_the_heads_to_start_from_can_be_an_option():
    recipe = ROOT / "examples/nano/recipes/listen.toml"
    printed = lyra("train", "--recipe", recipe, "--heads", "run/heads.safetensors", "--print-recipe")
    assert tomllib.loads(printed.stdout)["heads"] == "run/heads.safetensors"


def test_a_recipe_of_a_file_is_used_and_its_errors_have_their_place(command, data, tiny, tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text(
        f'stage = 2\nmodel = "{tiny}"\ndata = ["{data}"]\noutput = "{tmp_path}/run"\nadapter = {{rank = 4}}\n'
        f'batch.steps = 1\n[[group]]\nparameters = ["projector"]\nlearning_rate = 0.0\n')
    ended = lyra("train", "--recipe", path, "--adapter", "swedish")
    assert ended.returncode == 0, ended
    assert json.loads((tmp_path / "run/swedish_lora/adapter_config.json").read_text())["r"] == 4
    path.write_text("stage = 2\n\nlearning_rat = 1\n")
    fails(lyra("train", "--recipe", path), f"{path}:3:1: there is no key", "optimizer.learning_rate")
    fails(lyra("train", "--recipe", tmp_path / "nowhere.toml"), "nowhere.toml", "No such file")
    fails(
        lyra("train", "--stage", 2, "--model", tiny, "--data", tmp_path / "no.json", "--out", tmp_path / "x"),
        "no.json")
    fails(lyra(*command, "--out", tmp_path / "y", "--train", "nothing.*"), "nothing.*")


@pytest.mark.parametrize("arguments", [
    (), ("--stage", 5), ("--stage", 2), ("--stage", 2, "--model", "x"), ("--stage", 2, "--batch", 0),
    ("--stage", 2, "--epochs", 1, "--steps", 1), ("--stage", 2, "--learning-rate=-1"),
    ("--stage", 2, "--extractor", "x")],
    ids=lambda arguments: " ".join(map(str, arguments)))
def test_wrong_usage_of_train_is_64(arguments):
    is_wrong_usage(lyra("train", *arguments))
