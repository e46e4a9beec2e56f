"""The checkpoints of `make-tiny`."""

import json
import os
import resource

import pytest

from support import answer, fails, lyra


def contents(directory):
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def make(directory, *arguments):
    ended = lyra("make-tiny", directory, *arguments)
    assert (ended.returncode, ended.stdout) == (0, "")
    assert ended.stderr.count("\n") == 1 and str(directory) in ended.stderr and "random" in ended.stderr
    return contents(directory)


def test_a_seed_gives_the_same_bytes_and_another_seed_others(tiny, tmp_path):
    made = contents(tiny)
    assert make(tmp_path / "same", "--seed", "1") == made
    other = make(tmp_path / "other", "--seed", "2")
    assert other.keys() == made.keys()
    weights = [name for name in made if name.endswith((".safetensors", ".bin")) or "/g_" in name]
    assert len(weights) >= 8 and not any(made[name] == other[name] for name in weights)


def test_the_default_seed_is_1(tiny, tmp_path):
    assert make(tmp_path / "unseeded") == contents(tiny)


def test_it_is_small_and_takes_an_empty_directory(tmp_path):
    made = make(tmp_path)
    assert sum(map(len, made.values())) < 16e6


def test_layers_limits_every_network_and_keeps_the_widths(tiny, tmp_path):
    def configuration(made):
        return json.loads(made["config.json"])

    whole, one = contents(tiny), make(tmp_path / "one", "--layers", "1")
    assert configuration(whole)["num_hidden_layers"] > 1
    assert configuration(one) == configuration(whole) | {
        "num_hidden_layers": 1, "ctc_decoder_config": configuration(one)["ctc_decoder_config"]}
    assert configuration(one)["ctc_decoder_config"].startswith("(1,")
    assert make(tmp_path / "many", "--layers", "100") == whole
    answer("--model", tmp_path / "one", "--prompt", "Hello!", "--max-tokens", "2")


def test_a_directory_that_is_not_empty_is_refused_and_unchanged(tmp_path):
    (tmp_path / "mine").write_bytes(b"kept")
    fails(lyra("make-tiny", tmp_path), tmp_path, "not empty")
    assert contents(tmp_path) == {"mine": b"kept"}


@pytest.mark.parametrize("directory", ["/dev/null", "/dev/null/below", "/proc/self/tiny"])
def test_a_directory_that_cannot_be_written_is_named(directory):
    fails(lyra("make-tiny", directory), "/".join(directory.split("/")[:3]))


def test_an_empty_name_is_refused(tmp_path):
    fails(lyra("make-tiny", "", cwd=tmp_path), '"" is not a path')
    assert contents(tmp_path) == {}


def test_a_full_disk_leaves_no_file(tmp_path):
    def limit():
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))

    made = tmp_path / "deep" / "tiny"
    fails(lyra("make-tiny", made, preexec_fn=limit), made, "File too large")
    assert os.listdir(tmp_path) == []
    made.mkdir(parents=True)
    fails(lyra("make-tiny", made, preexec_fn=limit), made)
    assert os.listdir(made) == [], "the directory was there before"
    assert lyra("make-tiny", made).returncode == 0


def test_presets_have_the_stated_sizes():
    assert "7.1 GB and 20 GB" in " ".join(lyra("make-tiny", "--help").stdout.split())


def test_the_checkpoint_takes_speech_and_speaks(tiny, recordings, tmp_path):
    got = answer("--model", tiny, "--audio", recordings["a_short"], "--speak", tmp_path / "answer.wav")
    assert got["adapter"] == "speech" and got["token_ids"] and got["audio"]["sample_rate"] == 16000
