"""inspect, make-tiny and bench."""

import json
import math
import shutil

from tool import FIXTURES, fails, run


def contents(path):
    return {file.relative_to(path): file.read_bytes() for file in sorted(path.rglob("*")) if file.is_file()}


def test_inspect_lists_parts_and_what_is_missing(tiny, tmp_path):
    report = json.loads(run("inspect", tiny, "--json").stdout)
    names = [part["name"] for part in report["parts"]]
    for name in ("language model", "speech generator", "speech tower", "vocoder", "adapter speech", "adapter long_speech"):
        assert name in names
    assert report["missing"] == [] and sorted(report["adapters"]) == ["long_speech", "speech"]
    assert sum(part["bytes"] for part in report["parts"]) > 1 << 20
    assert "nothing is missing" in run("inspect", tiny).stdout
    shutil.copytree(tiny, tmp_path / "partial")
    shutil.rmtree(tmp_path / "partial/model_zoo")
    shutil.rmtree(tmp_path / "partial/speech_lora")
    missing = json.loads(run("inspect", tmp_path / "partial", "--json").stdout)["missing"]
    assert len(missing) == 3 and any("speech tower" in line for line in missing) and any("vocoder" in line for line in missing)


def test_a_truncated_shard_is_named(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "cut")
    shard = tmp_path / "cut/model-00001-of-00002.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    assert shard.name in fails("inspect", tmp_path / "cut")


def test_make_tiny_depends_on_the_seed_alone(tiny, tmp_path):
    for name, seed in (("same", 7), ("other", 8)):
        assert run("make-tiny", tmp_path / name, "--seed", seed).returncode == 0
    assert contents(tmp_path / "same") == contents(tiny) != contents(tmp_path / "other")
    assert str(tiny) in fails("make-tiny", tiny)
    fails("make-tiny", tmp_path / "x", "--preset", "huge", code=64)


def test_bench_measures_every_part():
    report = json.loads(run("bench", "--preset", "tiny", "--repetitions", 1, "--json").stdout)
    rows = {(row["part"], row["what"]): row for row in report["results"]}
    assert {part for part, _ in rows} == {"memory", "OpenBLAS", "language model", "speech encoder", "speech generator", "vocoder"}
    assert len(rows) == 7
    assert all(math.isfinite(row["value"]) and row["value"] > 0 for row in rows.values())
    assert run("bench", "--preset", "tiny", "--repetitions", 1, "--dtype", "f32", "--threads", 1).stdout.count("|") > 30


def test_help_and_version():
    assert run("--version").stdout.strip() == "0.1.0"
    for command in ("generate", "inspect", "make-tiny", "bench"):
        assert command in run("--help").stdout
        assert run(command, "--help").returncode == 0
    fails("sing", code=64)
    assert FIXTURES.is_dir()
