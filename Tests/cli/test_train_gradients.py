"""`train --dry-run-gradients`: losses and gradients of one example, against PyTorch's in float64."""

import json

import numpy as np
import pytest

from support import FIXTURES, case, fails, is_wrong_usage, lyra, model_of

CASES = {"train_plain": (), "train_extractor": ("--extractor", "gap=2,keep=0.7")}
# Of a larger gradient the fixture has every 16th row.
SAMPLED = ("projector.linear1.weight", "projector.linear2.weight")


def gradients(variant, path, *arguments):
    return lyra(
        "train", "--stage", 2, *model_of(variant), "--adapter", "speech", "--dry-run-gradients", path, *arguments)


def numbers(variant, name):
    path = FIXTURES / variant / "cases" / f"{name}.safetensors"
    ended = gradients(variant, path, *CASES[name])
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return json.loads(ended.stdout)


@pytest.mark.parametrize("variant", ["a", "b"])
@pytest.mark.parametrize("name", CASES)
def test_losses_and_norms_equal_the_reference(variant, name):
    got, want = numbers(variant, name), case(variant, name)
    assert list(got) == ["cross_entropy", "lcmr", "total", "gradients"]
    for key, tensor in (("cross_entropy", "out.ce"), ("lcmr", "out.lcmr"), ("total", "out.loss")):
        assert got[key] == pytest.approx(float(want[tensor]), rel=1e-4)
    compared = 0
    for output, gradient in want.items():
        parameter = output.removeprefix("out.grad_")
        if parameter == output or parameter in SAMPLED:
            continue
        norm = np.linalg.norm(gradient.astype(np.float64))
        assert got["gradients"][parameter] == pytest.approx(norm, rel=1e-3), parameter
        compared += 1
    assert compared == 14 and set(SAMPLED) < set(got["gradients"])
    # Seven matrices of each layer, and the projector.
    layers = {"a": 8, "b": 6}[variant]
    assert len(got["gradients"]) == layers * 7 * 2 + 4


def test_the_extractor_changes_the_losses():
    assert numbers("a", "train_plain")["cross_entropy"] != numbers("a", "train_extractor")["cross_entropy"]


def changed_case(path, change):
    """Writes train_plain of fixture a after `change` of its dictionary of arrays."""
    arrays = {name: array for name, array in case("a", "train_plain").items() if name.startswith("in.")}
    change(arrays)
    header, body = {}, b""
    for name, array in arrays.items():
        kind = {"f": "F32", "i": "I64"}[array.dtype.kind]
        header[name] = {
            "dtype": kind, "shape": array.shape, "data_offsets": [len(body), len(body) + array.nbytes]}
        body += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + body)
    return path


def drop(name):
    return lambda arrays: arrays.pop(name)


def token(name, value):
    return lambda arrays: arrays.update({name: np.array([5, value, 7], dtype=np.int64)})


@pytest.mark.parametrize("change, parts", [
    (drop("in.answer"), ["there is no tensor in.answer"]),
    (drop("in.encoder"), ["there is no tensor in.encoder"]),
    (token("in.before", 1 << 20), [1 << 20, "vocabulary"]),
    (token("in.answer", -1), ["-1", "vocabulary"]),
    (token("in.transcript", 1 << 40), ["in.transcript", 1 << 40]),
    (lambda arrays: arrays.update({"in.answer": np.zeros(0, np.int64)}), ["in.answer"]),
    (lambda arrays: arrays.update({"in.encoder": arrays["in.encoder"][:, :40].copy()}), ["[2048, 240]"]),
    (lambda arrays: arrays.update({"in.encoder": arrays["in.encoder"] * np.float32("nan")}), ["nan"]),
])
def test_a_case_that_does_not_fit_is_named(change, parts, tmp_path):
    path = changed_case(tmp_path / "case.safetensors", change)
    fails(gradients("a", path), *parts)


def test_an_adapter_that_is_not_there_is_named(tmp_path):
    path = changed_case(tmp_path / "case.safetensors", lambda arrays: None)
    fails(gradients("a", path, "--adapter", "swedish"), '"swedish"', '"long_speech"', '"speech"')


def test_missing_files_are_named(tmp_path):
    fails(gradients("a", tmp_path / "nowhere"), tmp_path / "nowhere")
    ended = lyra("train", "--model", tmp_path / "nothing", "--dry-run-gradients", FIXTURES / "a/cases/ctc.safetensors")
    fails(ended, "ctc.safetensors", "in.encoder")


@pytest.mark.parametrize("arguments, part", [
    (("--stage", 3), "--stage 2"), (("--extractor", "gap=2"), "gap=7,keep=0.7"),
    (("--extractor", "gap=2,keep=2"), "at most 1"), (("--threads", 0), "--threads"), (("--rate", 1), "--rate")])
def test_wrong_options_are_wrong_usage(arguments, part):
    is_wrong_usage(gradients("a", FIXTURES / "a/cases/train_plain.safetensors", *arguments), part)
