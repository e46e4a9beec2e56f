"""The rows of `bench`, whatever their values."""

import json
import math
import os
import re
import subprocess
from pathlib import Path

import pytest

from support import is_wrong_usage, lyra

# part, start of the description, unit, the limit for comparison
ROWS = [
    ("memory", "1 GB", "GB/s", None),
    ("processor", "F32", "GFLOP/s", None),
    ("processor", "BF16", "GFLOP/s", None),
    ("processor", "bytes", "GOP/s", None),
    ("product", "sgemm 2048", "GFLOP/s", None),
    ("language model", "prefill 32", "tokens/s", "sgemm"),
    ("language model", "decode after 128", "tokens/s", "reading"),
    ("speech encoder", "one window", "s", "sgemm"),
    ("speech generator", "one token", "ms", "sgemm"),
    ("vocoder", "6.0 s of speech", "× real time", None),
    ("vision encoder", "1024 × 768, 999 tokens", "s", "sgemm"),
    ("spoken answer", "8 tokens", "× real time", None),
    ("spoken answer", "first audio", "s", None),
    ("video", "20 frames of 64 × 48", "frames/s", None),
]
QUICK = ("--preset", "tiny", "--repetitions", 1, "--prompt-tokens", 32, "--decode-tokens", 8)


def is_positive(value):
    return type(value) in (int, float) and math.isfinite(value) and value > 0


@pytest.fixture(scope="module")
def video(tmp_path_factory):
    path = tmp_path_factory.mktemp("video") / "short.mp4"
    source = "testsrc=duration=2:size=64x48:rate=10"
    subprocess.run(["ffmpeg", "-v", "error", "-nostdin", "-f", "lavfi", "-i", source, str(path)], check=True)
    return path


def test_sessions_decode_together():
    ended = lyra("bench", *QUICK, "--threads", 1, "--only", "sessions", "--sessions", "1,3", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = json.loads(ended.stdout)["results"]
    assert [(row["what"], row["unit"]) for row in rows] == [
        ("decode, 1 sessions together", "tokens/s"), ("one token of 1 sessions", "ms"),
        ("decode, 3 sessions together", "tokens/s"), ("one token of 3 sessions", "ms")]
    assert all(is_positive(row["value"]) for row in rows)
    for wrong in ["0", "65", "1.5", "x"]:
        is_wrong_usage(lyra("bench", "--sessions", wrong), "--sessions")


def test_every_part_is_timed(video):
    ended = lyra(
        "bench", *QUICK, "--dtype", "q8_0", "--precision", "fast", "--threads", 1, "--video", video, "--json")
    assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout.count("\n") == 1
    got = json.loads(ended.stdout)
    assert list(got) == ["preset", "dtype", "precision", "machine", "threads", "repetitions", "results"]
    assert (got["preset"], got["dtype"], got["precision"]) == ("tiny", "q8_0", "fast")
    assert (got["threads"], got["repetitions"]) == (1, 1)
    assert len(got["results"]) == len(ROWS)
    for row, (part, what, unit, limit) in zip(got["results"], ROWS):
        assert (row["part"], row["unit"], row.get("share_of")) == (part, unit, limit)
        assert row["what"].startswith(what)
        assert is_positive(row["value"]) and is_positive(row.get("share", 1))


def test_the_table_has_a_line_for_every_part(video):
    ended = lyra("bench", *QUICK, "--only", "prefill,vision,video", "--video", video)
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = [line for line in ended.stdout.splitlines() if line.startswith("| ")][1:]
    assert [line.split(" | ")[0][2:] for line in rows] == ["language model", "vision encoder", "video"]
    assert "tiny, bf16, exact, random weights" in ended.stdout


@pytest.mark.parametrize("dtype", ["bf16", "f16", "q8_0"])
def test_parts_and_the_type_of_weights_can_be_chosen(dtype):
    ended = lyra("bench", *QUICK, "--only", "decode,prefill", "--decode-after", 40, "--dtype", dtype, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    report = json.loads(ended.stdout)
    assert report["dtype"] == dtype
    assert [row["what"] for row in report["results"]] == ["prefill 32", "decode after 40"]
    ended = lyra("bench", *QUICK, "--only", "decode,nothing")
    assert ended.returncode == 64 and "limits, prefill, decode" in ended.stderr


@pytest.mark.parametrize("parts, part", [("decode,foo", '"foo"'), ("", '""'), ("vocoder,", '""')])
def test_an_unknown_part_is_named(parts, part):
    is_wrong_usage(lyra("bench", "parts", "--only", parts), f"there is no part {part}; there are memory")


# Seconds are printed with six decimals; a fast processor needs milliseconds for a step.
ROUNDING = 0.01
STEP = ("--preset", "tiny", "--tokens", 128, "--samples", 2, "--rank", 4, "--repetitions", 1, "--threads", 1)


@pytest.mark.parametrize("weights, options", [("lora", ()), ("all", ()), ("lora", ("--dtype", "q8_0", "--recompute"))])
def test_a_training_step_and_its_parts_are_timed(weights, options):
    ended = lyra("bench", "train", *STEP, "--weights", weights, *options, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    got = json.loads(ended.stdout)
    rows = {row["what"].removesuffix(" of 2 × 128 tokens"): row["value"] for row in got["results"]}
    parts = ("forward", "loss", "backward", "update")
    assert set(rows) - {"peak memory"} == {"step", "layers", *parts}
    assert all(map(is_positive, rows.values()))
    assert rows["step"] == pytest.approx(sum(rows[part] for part in parts), rel=ROUNDING)
    assert got["weights"] == weights and (got["dtype"], got["preset"]) == ("q8_0" if options else "f32", "tiny")


def test_training_steps_with_the_extractor_are_compared():
    ended = lyra("bench", "train", *STEP, "--extractor", "blocks=2,keep=0.5", "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = {row["what"]: row["value"] for row in json.loads(ended.stdout)["results"]}
    for part in ("step", "layers"):
        without, with_it = rows[f"{part} of 2 × 128 tokens"], rows[f"extractor, {part} of 2 × 128 tokens"]
        assert rows[f"extractor: {part}, share of that without"] == pytest.approx(with_it / without, rel=ROUNDING)


@pytest.mark.parametrize("options, reason", [
    (("--tokens", 16), "--tokens"), (("--media", 0.9), "--media"), (("--rank", 0), "--rank"),
    (("--media", 0, "--extractor", "blocks=2,keep=0.5"), "--extractor needs media")])
def test_a_wrong_training_step_is_refused(options, reason):
    is_wrong_usage(lyra("bench", "train", *options), reason)


def multiplies(**environment):
    """What lyra multiplies floats with, in this environment."""
    ended = lyra("bench", "parts", "--only", "limits", "--repetitions", 1, "--json",
                 env=os.environ | environment)
    assert ended.returncode == 0, ended.stderr
    return next(row["what"] for row in json.loads(ended.stdout)["results"] if row["part"] == "product")


def test_a_damaged_openblas_is_named_and_not_needed(tmp_path):
    (tmp_path / "libopenblas.so.0").write_bytes(b"not a library")
    said = multiplies(LD_LIBRARY_PATH=str(tmp_path))
    assert "lyra's" in said and "libopenblas.so.0" in said, said


def test_floats_are_multiplied_by_whoever_has_kernels_for_the_processor():
    if not re.search(r"^flags.*\bavx2\b", Path("/proc/cpuinfo").read_text(), re.MULTILINE):
        pytest.skip("without AVX2 OpenBLAS always multiplies")

    assert "lyra's avx2 (OpenBLAS's choice: Prescott)" in multiplies(OPENBLAS_CORETYPE="Prescott", LYRA_ISA="avx2")
    assert "OpenBLAS (OpenBLAS's choice: Haswell)" in multiplies(OPENBLAS_CORETYPE="Haswell", LYRA_ISA="avx2")
    assert "OpenBLAS (" in multiplies(OPENBLAS_CORETYPE="Prescott", LYRA_ISA="generic")


def test_kernels_of_every_instruction_set_are_timed():
    ended = lyra("bench", "kernels", "--rows", "1,7", "--repetitions", 1, "--json")
    assert ended.returncode == 0, ended.stderr
    report = json.loads(ended.stdout)
    assert [(row["weights"], row["rows"]) for row in report["results"]] == [
        (weights, rows) for weights in ("F32", "BF16", "Q8_0", "Q4_0", "Q4_K", "Q6_K") for rows in (1, 7)]
    for row in report["results"]:
        assert report["in_use"] in row["rates"] and all(map(is_positive, row["rates"].values()))
    is_wrong_usage(lyra("bench", "kernels", "--rows", "0"), "--rows")
