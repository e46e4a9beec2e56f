"""The rows of `bench`, whatever their values."""

import json
import math
import subprocess

import pytest

from support import is_wrong_usage, lyra

# part, start of the description, unit, the limit for comparison
ROWS = [
    ("memory", "1 GB", "GB/s", None),
    ("processor", "F32", "GFLOP/s", None),
    ("processor", "BF16", "GFLOP/s", None),
    ("processor", "bytes", "GOP/s", None),
    ("OpenBLAS", "sgemm", "GFLOP/s", None),
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


@pytest.mark.parametrize("dtype, precision", [("bf16", "fast"), ("f16", "exact"), ("q8_0", "fast")])
def test_every_part_is_timed(dtype, precision, video):
    ended = lyra(
        "bench", *QUICK, "--dtype", dtype, "--precision", precision, "--threads", 1, "--video", video, "--json"
    )
    assert (ended.returncode, ended.stderr) == (0, "") and ended.stdout.count("\n") == 1
    got = json.loads(ended.stdout)
    assert list(got) == ["preset", "dtype", "precision", "machine", "threads", "repetitions", "results"]
    assert (got["preset"], got["dtype"], got["precision"]) == ("tiny", dtype, precision)
    assert (got["threads"], got["repetitions"]) == (1, 1)
    assert len(got["results"]) == len(ROWS)
    for row, (part, what, unit, limit) in zip(got["results"], ROWS):
        assert (row["part"], row["unit"], row.get("share_of")) == (part, unit, limit)
        assert row["what"].startswith(what)
        assert is_positive(row["value"]) and is_positive(row.get("share", 1))


def test_the_table_has_a_line_for_every_part(video):
    ended = lyra("bench", *QUICK, "--video", video)
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = [line for line in ended.stdout.splitlines() if line.startswith("| ")][1:]
    assert [line.split(" | ")[0][2:] for line in rows] == [part for part, *_ in ROWS]
    assert "tiny, bf16, exact, random weights" in ended.stdout


def test_parts_can_be_chosen():
    ended = lyra("bench", *QUICK, "--only", "decode,prefill", "--decode-after", 40, "--json")
    assert (ended.returncode, ended.stderr) == (0, "")
    rows = json.loads(ended.stdout)["results"]
    assert [row["what"] for row in rows] == ["prefill 32", "decode after 40"]
    ended = lyra("bench", *QUICK, "--only", "decode,nothing")
    assert ended.returncode == 64 and "limits, prefill, decode" in ended.stderr


@pytest.mark.parametrize("parts, part", [("decode,foo", '"foo"'), ("", '""'), ("vocoder,", '""')])
def test_an_unknown_part_is_named(parts, part):
    is_wrong_usage(lyra("bench", "parts", "--only", parts), f"there is no part {part}; there are memory")
