"""Checkpoints for training from nothing, of configuration files."""

import json
import os
import re
import resource
import shutil

import numpy as np
import pytest

from support import ROOT, answer, fails, lyra, read_safetensors, read_wav

WEIGHTS = shutil.ignore_patterns("*.safetensors", "*.index.json", "*.bin", "*.pth", "g_*")
NANO = ROOT / "examples/nano/model"
WHISPER = "model_zoo/audio/whisper/model.safetensors"
VISION = "model_zoo/vision/Qwen2VL_ViT/model.safetensors"
VOCODER = "model_zoo/audio/vocoder/g_00000000"
ADAPTERS = [f"{name}/{file}" for name in ("speech_lora", "long_speech_lora")
    for file in ("adapter_config.json", "adapter_model.safetensors", "non_lora_trainables.bin")]


def change(file, **members):
    """Changes members of a JSON file; None removes one."""
    changed = json.loads(file.read_text()) | members
    file.write_text(json.dumps({name: value for name, value in changed.items() if value is not None}))


def configured(tiny, directory, **members):
    """The files of a checkpoint of make-tiny without its weights. → the directory"""
    shutil.copytree(tiny, directory, ignore=WEIGHTS)
    no_sound = dict.fromkeys(["mm_audio_tower", "mm_audio_hidden_size", "mm_audio_projector_type"])
    change(directory / "config.json", **no_sound | members)
    return directory


def initialize(source, directory, *arguments):
    ended = lyra("initialize", source, "-o", directory, *arguments)
    assert (ended.returncode, ended.stdout) == (0, ""), ended.stderr
    return {
        str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def start(tiny, tmp_path_factory):
    """Configuration files, the checkpoint made of them, and its files."""
    folder = tmp_path_factory.mktemp("start")
    source = configured(tiny, folder / "configuration")
    return source, folder / "made", initialize(source, folder / "made")


def test_every_part_is_made_and_runs(start, recordings, pictures, tmp_path):
    source, made, files = start
    texts = {str(path.relative_to(source)) for path in source.rglob("*") if path.is_file()}
    assert set(files) == texts | {"model.safetensors", WHISPER, VISION, VOCODER} | set(ADAPTERS)
    for name in texts - set(ADAPTERS):
        assert files[name] == (source / name).read_bytes(), name
    asked = ["--model", made, "--max-tokens", "4", "--prompt", "Hello"]
    assert len(answer(*asked)["token_ids"]) == 4
    assert answer(*asked, "--image", pictures["a_small"])["usage"]["media_tokens"] > 0
    got = answer(*asked, "--audio", recordings["a_short"], "--speak", tmp_path / "answer.wav")
    assert got["adapter"] == "speech" and got["usage"]["media_tokens"] == 300 and got["units"]
    rate, samples = read_wav(tmp_path / "answer.wav")
    assert rate == 16000 and 0 < np.abs(samples).max() < 1


def test_a_seed_gives_the_same_bytes_and_another_seed_others(start, tmp_path):
    source, _, files = start
    assert initialize(source, tmp_path / "same", "--seed", "1") == files
    other = initialize(source, tmp_path / "other", "--seed", "2")
    assert other.keys() == files.keys()
    for name in files:
        assert (other[name] == files[name]) == name.endswith((".json", ".txt")), name


def test_a_part_does_not_change_the_others(tiny, start, tmp_path):
    less = initialize(
        configured(tiny, tmp_path / "less", mm_vision_tower=None, speech_generator_type=None), tmp_path / "made")
    files = start[2]
    assert VISION not in less and VOCODER not in less and less[WHISPER] == files[WHISPER]
    assert [less[name] for name in ADAPTERS] == [files[name] for name in ADAPTERS]
    whole, rest = (read_safetensors(made / "model.safetensors") for made in (start[1], tmp_path / "made"))
    assert whole.keys() - rest.keys() == {name for name in whole if name.startswith("speech_generator.")} != set()
    assert all(np.array_equal(rest[name], whole[name]) for name in rest)


def test_adapters_change_nothing_yet(start):
    for name in ("speech_lora", "long_speech_lora"):
        for tensor, values in read_safetensors(start[1] / name / "adapter_model.safetensors").items():
            assert values.any() == tensor.endswith("lora_A.weight"), tensor
    speech, long = (start[2][f"{name}/adapter_model.safetensors"] for name in ("speech_lora", "long_speech_lora"))
    assert speech != long


def test_the_first_loss_of_an_untied_head_is_the_logarithm_of_the_vocabulary(tiny, tmp_path):
    """The scores' deviation is about 0.02 · √64 = 0.16, which adds 0.16² / 2 = 0.013."""
    initialize(configured(tiny, tmp_path / "untied", tie_word_embeddings=False), tmp_path / "made")
    tokens = ",".join(map(str, range(40, 60)))
    ended = lyra("logits", "--model", tmp_path / "made", "--tokens", tokens, "--out", tmp_path / "logits.safetensors")
    assert ended.returncode == 0, ended.stderr
    logits = read_safetensors(tmp_path / "logits.safetensors")["logits"].astype(np.float64)
    losses = np.log(np.exp(logits).sum(1)) - logits.mean(1)
    assert logits.shape[1] == 512 and np.all(np.abs(losses - np.log(512)) < 0.05)


def test_an_untied_head_is_made(tiny, tmp_path):
    made = initialize(configured(tiny, tmp_path / "untied", tie_word_embeddings=False), tmp_path / "made")
    assert "model.safetensors" in made
    tensors = read_safetensors(tmp_path / "made/model.safetensors")
    assert not np.array_equal(tensors["lm_head.weight"], tensors["model.embed_tokens.weight"])


@pytest.mark.parametrize("file, members, words", [
    ("config.json", {"mm_audio_tower": "model_zoo/audio/imagebind.pth"}, ["mm_audio_tower", "remove"]),
    ("config.json", {"mm_speech_tower": "../whisper"}, ["mm_speech_tower", "../whisper", "inside"]),
    ("config.json", {"mm_vision_tower": "model_zoo/elsewhere"}, ["elsewhere/config.json", "mm_vision_tower"]),
    ("config.json", {"model_type": "qwen2_vl"}, ["model_type", "Lyra_Qwen2VL_SpeechGenerator"]),
    ("config.json", {"vocab_size": 300}, ["tokens", "300"]),
    ("config.json", {"hidden_size": 2**60}, ["hidden_size"]),
    ("config.json", {"speech_projector_hidden_size": 0}, ["speech_projector_hidden_size is 0"]),
    ("model_zoo/audio/whisper/config.json", {"d_model": 50}, ["whisper/config.json", "d_model"]),
    ("model_zoo/vision/Qwen2VL_ViT/config.json", {"hidden_size": 48}, ["48", "64"]),
    ("model_zoo/audio/vocoder/config.json", {"num_embeddings": 99}, ["99", "100"]),
    ("speech_lora/adapter_config.json", {"r": 0}, ["speech_lora/adapter_config.json", "r is 0"]),
])
def test_a_configuration_that_does_not_fit_is_refused_by_name(tiny, tmp_path, file, members, words):
    source = configured(tiny, tmp_path / "source")
    change(source / file, **members)
    fails(lyra("initialize", source, "-o", tmp_path / "made"), *words)
    assert os.listdir(tmp_path) == ["source"]


def test_missing_files_weights_and_an_occupied_output_are_refused(tiny, tmp_path):
    source, made = configured(tiny, tmp_path / "source"), tmp_path / "made"
    fails(lyra("initialize", tmp_path / "nowhere", "-o", made), tmp_path / "nowhere", "config.json")
    (source / "model.safetensors").write_bytes(b"")
    fails(lyra("initialize", source, "-o", made), source / "model.safetensors", "weights")
    (source / "model.safetensors").unlink()
    preparation = source / "model_zoo/audio/whisper/preprocessor_config.json"
    text = preparation.read_bytes()
    preparation.unlink()
    fails(lyra("initialize", source, "-o", made), preparation)
    preparation.write_bytes(text)
    fails(lyra("initialize", source, "-o", source), source, "empty directory")
    assert os.listdir(tmp_path) == ["source"]


def test_a_full_disk_leaves_nothing(start, tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    fails(lyra("initialize", start[0], "-o", tmp_path / "made", preexec_fn=limit), tmp_path / "made", "File too large")
    assert os.listdir(tmp_path) == []


def test_the_model_of_nano_has_the_stated_parts(tiny, tmp_path):
    source = tmp_path / "source"
    shutil.copytree(NANO, source)
    for name in ("vocab.json", "merges.txt", "added_tokens.json"):
        if not (source / name).exists():
            shutil.copy(tiny / name, source)
    ended = lyra("initialize", source, "-o", tmp_path / "made")
    assert ended.returncode == 0, ended.stderr
    made = dict(re.findall(r"^([\w ]+): (\d+) parameters$", ended.stderr, re.M))
    table = re.findall(r"^\| ([\w ]+) \| .* \| ([\d,]+) \|$", (NANO / "README.md").read_text(), re.M)
    assert {part: count.replace(",", "") for part, count in table} == made and len(made) == 6
