"""`bench extractor`: its rows and the counts in them, whatever the speed."""

import json
import math
import signal
import subprocess
from xml.etree import ElementTree

import numpy as np
import pytest

from support import TOOL, fails, is_wrong_usage, lyra

QUICK = ("bench", "extractor", "--preset", "tiny", "--repetitions", 2, "--threads", 1)
TEXT = 48  # tokens of text in a prompt
# preset tiny: layers, hidden, heads · head dim, kv heads · head dim, intermediate
LAYERS, HIDDEN, WIDTH, KV_WIDTH, INNER = 4, 64, 64, 32, 128


def alive(tokens, keep, blocks):
    """The number of tokens that each layer computes, by the definition of the extractor."""
    media, gap, counts = tokens - TEXT, max(1, LAYERS // blocks), []
    for layer in range(LAYERS):
        counts.append(TEXT + media)
        if keep is not None and (layer + 1) % gap == 0 and layer + 1 < LAYERS:
            media = min(media, max(32, int(np.float32(media) * np.float32(keep))))
    return counts


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bench")
    out, plot = folder / "out.json", folder / "plot.svg"
    ended = lyra(*QUICK, "--lengths", "8,300,11", "--keep", "0.8,0.5", "--json", out, "--plot", plot)
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout, json.loads(out.read_text()), ElementTree.parse(plot)


def test_every_length_has_the_baseline_and_each_share(run):
    _, got, _ = run
    assert [(row["tokens"], row["keep"]) for row in got["results"]] == [
        (tokens, keep) for tokens in (256, 300, 2048) for keep in (None, 0.8, 0.5)]
    for row in got["results"]:
        for name in ("prefill_s", "decode_tokens_per_s", "kv_bytes", "peak_bytes"):
            assert math.isfinite(row[name]) and row[name] > 0
        assert len(row["prefill_runs_s"]) == len(row["decode_runs_tokens_per_s"]) == 2
        assert row["prefill_s"] == pytest.approx(np.mean(row["prefill_runs_s"]), abs=2e-6)
        assert row["kv_allocated_bytes"] >= row["kv_bytes"]
    assert (got["preset"], got["kv_type"], got["blocks"], got["left_out"]) == ("tiny", "f32", 4, [])


def test_the_cache_has_the_kept_tokens(run):
    for row in run[1]["results"]:
        counts = alive(row["tokens"], row["keep"], 4)
        assert row["kv_bytes"] == sum(counts) * 2 * KV_WIDTH * 4
        assert row["kv_share"] == pytest.approx(sum(counts) / (LAYERS * row["tokens"]), abs=1e-6)


def test_the_theory_is_the_count_of_operations(run):
    """The expected count is summed layer by layer and token by token."""
    for row in run[1]["results"]:
        def operations(keep):
            total = 0
            for count in alive(row["tokens"], keep, 4):
                matrices = 2 * HIDDEN * (WIDTH + 2 * KV_WIDTH) + 2 * WIDTH * HIDDEN + 2 * 3 * HIDDEN * INNER
                # Scores and weighted values: a multiplication and an addition each for every pair, half of them masked.
                total += count * matrices + 2 * (2 * count * count // 2) * WIDTH
            return total

        assert row["theory_prefill_share"] == pytest.approx(operations(row["keep"]) / operations(None), abs=1e-5)
        baseline = next(r for r in run[1]["results"] if r["tokens"] == row["tokens"] and r["keep"] is None)
        assert row["prefill_share"] == pytest.approx(row["prefill_s"] / baseline["prefill_s"], rel=0.01)


def test_the_papers_figures_are_beside_the_same_length(run):
    papers = {(row["tokens"], row["keep"]): row["paper_prefill_s"] for row in run[1]["results"]}
    assert papers[2048, None] == 0.19 and papers[2048, 0.8] == 0.17
    assert papers[2048, 0.5] is papers[256, None] is papers[300, 0.8] is None


def test_the_table_and_the_drawing_have_every_row(run):
    out, got, plot = run
    rows = [line.split(" | ") for line in out.splitlines() if line.startswith("| ")][1:]
    assert [(row[0][2:], row[1]) for row in rows] == [
        (str(row["tokens"]), "baseline" if row["keep"] is None else f"ρ = {row['keep']}") for row in got["results"]]
    assert "In theory" in out and "Table 4" in out
    svg = "{http://www.w3.org/2000/svg}"
    texts = {element.text for element in plot.iter(svg + "text")}
    assert {"prefill, s", "decoding after it, tokens/s", "keys and values, MB"} <= texts
    assert {"baseline", "ρ = 0.8", "300", "2k"} <= texts
    # Three panels of three series, two of theory, and five in the legend.
    assert len(list(plot.iter(svg + "polyline"))) == 3 * 3 + 2 + 5


def test_smaller_caches_take_fewer_bytes(tmp_path):
    sizes = {}
    for type in ("f32", "bf16", "q8"):
        out = tmp_path / f"{type}.json"
        assert lyra(*QUICK, "--lengths", 1024, "--keep", "0.5", "--kv-type", type, "--json", out).returncode == 0
        sizes[type] = json.loads(out.read_text())["results"][0]["kv_bytes"]
    # The newest 512 tokens stay F32.
    assert sizes["bf16"] * 4 == sizes["f32"] * 3
    assert sizes["bf16"] > sizes["q8"] > sizes["f32"] * 5 // 8


def test_a_length_that_needs_too_much_memory_is_skipped_with_a_note(tmp_path):
    """2^24 tokens keep 4 layers of 2 · 32 floats each, and two copies of 64: 34 GB."""
    with open("/proc/meminfo") as file:
        free = next(int(line.split()[1]) for line in file if line.startswith("MemAvailable"))
    if free * 1024 > 30 << 30:
        pytest.skip("this machine has the memory")
    out = tmp_path / "out.json"
    ended = lyra(*QUICK, "--lengths", "24,128", "--keep", "0.5", "--json", out)
    assert ended.returncode == 0 and "16777216 tokens need" in ended.stderr
    got = json.loads(out.read_text())
    assert [row["tokens"] for row in got["results"]] == [128, 128] and len(got["left_out"]) == 1


def test_ctrl_c_keeps_the_finished_rows(tmp_path):
    out = tmp_path / "out.json"
    command = [TOOL, *map(str, QUICK), "--lengths", "128,20", "--keep", "0.5", "--json", str(out)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    while not process.stdout.readline().startswith(b"| 128 | \xcf\x81"):
        assert process.poll() is None
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert process.returncode == 1 and b"interrupted" in err
    assert len(json.loads(out.read_text())["results"]) == 2


@pytest.mark.parametrize("arguments", [
    ("--lengths", "100"), ("--lengths", "2048.5"), ("--lengths", "25"), ("--lengths", ""), ("--keep", "0"),
    ("--keep", "1.5"), ("--blocks", "0"), ("--dtype", "f8"), ("--kv-type", "f8"), ("--repetitions", "0"),
    ("--threads", "0")], ids=" ".join)
def test_wrong_usage_is_64(arguments):
    is_wrong_usage(lyra(*QUICK, *arguments))


def test_a_file_that_cannot_be_written_is_named_before_the_work(tmp_path):
    for option in ("--json", "--plot"):
        ended = lyra(*QUICK, "--lengths", 8, option, "nodir/x", cwd=tmp_path)
        fails(ended, "nodir/x")
        assert ended.stdout == ""


def test_a_file_that_fails_does_not_affect_the_others(tmp_path):
    ended = lyra(*QUICK, "--lengths", 8, "--json", "/dev/full", "--plot", tmp_path / "plot.svg")
    fails(ended, "/dev/full")
    assert ended.stdout and ElementTree.parse(tmp_path / "plot.svg")
