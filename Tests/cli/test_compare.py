"""Tests/Benchmarks/compare.py: its arithmetic, against figures worked out by hand, and its runs, with scripted
contenders."""

import json
import subprocess
import sys
import time

import pytest

from support import ROOT, TOOL

BENCHMARKS = ROOT / "Tests/Benchmarks"
sys.path.insert(0, str(BENCHMARKS))

from contenders import Crash, Failure, Peer  # noqa: E402
from environment import build_flags  # noqa: E402
from plan import plan  # noqa: E402
from results import with_section  # noqa: E402
from rounds import Rounds  # noqa: E402
from shape import PICTURE, patch_grid  # noqa: E402
from tables import advantage, comparison_table, digits, markdown, split_by_reading, spread  # noqa: E402

# Replaces lyra. Its rates grow by 1 with every run, which it counts in a file beside it.
STAND_IN = """#!{python}
import json, pathlib, sys
if "--version" in sys.argv:
    sys.exit(print("1.2.3"))
count = pathlib.Path(__file__ + ".count")
runs = int(count.read_text()) + 1 if count.exists() else 1
count.write_text(str(runs))
option = lambda name: sys.argv[sys.argv.index(name) + 1]
if option("--precision") == "{broken}":
    sys.exit("lyra: no such precision")
rows = []
if "train" in sys.argv:
    rows.append(("training, " + option("--weights"), "step of " + option("--tokens"), runs, "s"))
for part in option("--only").split(",") if "--only" in sys.argv else ():
    if part == "prefill":
        rows.append(("language model", "prefill " + option("--prompt-tokens"), 100 + runs, "tokens/s"))
    if part == "decode":
        rows.append(("language model", "decode after " + option("--decode-after"), 10 + runs, "tokens/s"))
    if part == "memory":
        rows.append(("memory", "read", 20 + runs, "GB/s"))
    if part == "limits":
        rows.append(("processor", "F32", 200 + runs, "GFLOP/s"))
    if part == "answer":
        rows.append(("answer", "first audio", 0.5 * runs, "s"))
keys = ("part", "what", "value", "unit")
print(json.dumps({{"results": [{{**dict(zip(keys, row)), "limit_samples": [30e9, 31e9]}} for row in rows]}}))
"""


@pytest.fixture
def tool(tmp_path):
    """Writes a tool that refuses the precision `broken`. → its path"""
    def make(broken=""):
        path = tmp_path / "tool"
        path.write_text(STAND_IN.format(python=sys.executable, broken=broken))
        path.chmod(0o755)
        return path

    return make


def compare(*arguments):
    return subprocess.run(
        [sys.executable, BENCHMARKS / "compare.py", *map(str, arguments)], capture_output=True, encoding="utf-8",
        timeout=300)


def row(better, **samples):
    return {"what": "prefill 512", "weights": "q8_0", "unit": "tokens/s", "better": better, "samples": samples}


def test_ratios_compare_medians_with_the_fastest_peer():
    # Medians 300, 100 and 150 per second: lyra is twice as fast as the faster peer.
    rates = row("higher", **{"lyra exact": [300, 900, 200], "a": [100, 100, 1], "b": [150, 140, 160]})
    assert advantage(rates, "lyra exact") == 2
    # 4 s against the faster peer's 2 s: half as fast.
    times = row("lower", **{"lyra exact": [4], "a": [2, 2, 9], "b": [3]})
    assert advantage(times, "lyra exact") == 0.5
    assert advantage(row("higher", **{"lyra exact": [300]}), "lyra exact") is None
    assert advantage(row("higher", a=[300]), "lyra exact") is None


def test_the_spread_is_that_of_the_widest_contender():
    assert spread(row("higher", a=[90, 100, 110], b=[8, 10, 12])) == pytest.approx(0.4)
    assert spread(row("higher")) == 0


def test_numbers_have_three_significant_digits():
    assert [digits(value) for value in (1234.5, 99.94, 3.14159, 0.01)] == ["1234", "99.9", "3.14", "0.01"]


def test_the_table_has_lyra_first_and_blanks_for_missing_samples():
    first = row("higher", peer=[50], **{"lyra exact": [100], "lyra fast": [150]})
    second = {**row("lower", **{"lyra exact": [2]}), "what": "encode", "weights": "bf16", "unit": "s"}
    head, _, *lines = comparison_table([first, second])
    assert head == (
        "| what | weights | unit | lyra exact | lyra fast | peer | lyra exact : best peer | lyra fast : best peer |")
    assert lines == [
        "| prefill 512 | Q8_0 | tokens/s | 100 | 150 | 50.0 | 2.00 × | 3.00 × |",
        "| encode | BF16 | s | 2.00 |  |  |  |  |"]


def test_samples_are_split_by_the_memory_rate_around_them():
    decode = {
        **row("higher", **{"lyra fast": [20, 32, 21], "peer": [15, 14, 17]}),
        "reading": {"lyra fast": [[34], [60], [36]], "peer": [[35, 34], [33, 36], [59, 61]]}}
    slow, fast = split_by_reading([decode, row("higher", **{"lyra fast": [1]})])
    assert slow["samples"] == {"lyra fast": [20, 21], "peer": [15, 14]}
    assert fast["samples"] == {"lyra fast": [32], "peer": [17]}
    # The rates beside them are 34, 36, 35, 34, 33, 36 and 60, 59, 61.
    assert slow["what"] == "prefill 512, reading 34.5 GB/s (2, 2 samples)"
    assert fast["what"] == "prefill 512, reading 60.0 GB/s (1, 1 samples)"
    # A sample with both rates or none is in neither table; similar rates give no second table.
    mixed = {"lyra fast": [[34], [60], [45]], "peer": [[35, 60], [], [59, 61]]}
    slow, fast = split_by_reading([{**decode, "reading": mixed}])
    assert (slow["samples"], fast["samples"]) == ({"lyra fast": [20]}, {"lyra fast": [32], "peer": [17]})
    assert split_by_reading([{**decode, "reading": {"lyra fast": [[34], [36], [36]], "peer": [[35, 33]]}}]) == []


def test_an_image_has_as_many_patches_as_in_lyra():
    rows, columns = patch_grid(*PICTURE)
    assert rows * columns == 4 * 999


def test_skipped_sections_have_no_options():
    groups = plan(["decode"], ["q8_0", "bf16"], ["fast"], [512], [128, 4096], 16)
    assert [(group.weights, sorted(group.peers)) for group in groups] == [
        ("q8_0", ["CTranslate2", "llama.cpp"]), ("bf16", ["PyTorch", "llama.cpp"])]
    assert [case.options for case in groups[0].cases] == [
        ["--only", "decode", "--decode-after", after, "--decode-tokens", "16"] for after in ("128", "4096")]
    # 4096 and 16, rounded up to a multiple of 256.
    assert groups[0].peers["llama.cpp"]["context"] == 4352
    assert plan(["limits", "answer"], ["q8_0"], ["fast"], [512], [128], 16) == []


def test_training_steps_alternate_with_peers_and_the_extractors_rows_follow(tool, tmp_path):
    ended = compare(
        "--tool", tool(), "--peers", "none", "--rounds", 3, "--only", "training", "--precisions", "exact",
        "--json", tmp_path / "out.json")
    assert ended.returncode == 0, ended.stderr
    got = json.loads((tmp_path / "out.json").read_text())
    assert [(row["what"], row["unit"], row["samples"]) for row in got["rows"]] == [
        ("training step, LoRA", "s", {"lyra exact": [1, 2, 3]}),
        ("training step, all weights", "s", {"lyra exact": [4, 5, 6]})]
    assert [(row["what"], row["value"]) for row in got["training"]] == [("step of 2048", 8)]
    assert "| training, lora | step of 2048 | 8.00 s |" in ended.stdout


def test_the_vocoders_peer_makes_as_many_seconds_as_lyra():
    (group,) = plan(["vocoder"], ["q8_0"], ["fast"], [512], [128], 16)
    (measure,) = group.cases[0].measures
    assert measure.request_like({"what": "25.9 s of speech"})["seconds"] == 25.9


def test_a_run_takes_turns_and_writes_medians(tool, tmp_path):
    ended = compare(
        "--tool", tool(), "--peers", "none", "--rounds", 3, "--only", "limits,prefill,decode,answer",
        "--weights", "q8_0", "--prompts", "32", "--contexts", "64", "--json", tmp_path / "out.json",
        "--markdown", tmp_path / "out.md")
    assert ended.returncode == 0, ended.stderr
    got = json.loads((tmp_path / "out.json").read_text())
    # Runs 1 to 3 measure the limits; then the precisions alternate; then each measures its answers.
    assert [row["value"] for row in got["limits"]] == [22, 202]
    assert [(row["what"], row["samples"]) for row in got["rows"]] == [
        ("prefill 32", {"lyra exact": [104, 106, 108], "lyra fast": [105, 107, 109]}),
        ("decode after 64", {"lyra exact": [14, 16, 18], "lyra fast": [15, 17, 19]})]
    assert [(row["weights"], row["value"]) for row in got["answer"]] == [("Q8_0, exact", 5.5), ("Q8_0, fast", 7)]
    assert (got["versions"], got["rounds"], got["threads"], got["left_out"]) == ({"lyra": "1.2.3"}, 3, 2, [])
    assert "| prefill 32 | Q8_0 | tokens/s | 106 | 107 |\n" in ended.stdout
    assert ended.stdout == (tmp_path / "out.md").read_text() == markdown(got)


def test_lyras_own_benchmark_has_a_row_for_every_section(tmp_path):
    ended = compare(
        "--tool", TOOL, "--peers", "none", "--preset", "tiny", "--rounds", 1, "--weights", "q8_0",
        "--precisions", "fast", "--only", "prefill,decode,encoder,vision,generator,vocoder,answer",
        "--prompts", 32, "--contexts", 16, "--decoded", 2, "--threads", 1, "--json", tmp_path / "out.json")
    assert ended.returncode == 0, ended.stderr
    got = json.loads((tmp_path / "out.json").read_text())
    assert [row["section"] for row in got["rows"]] == [
        "prefill", "decode", "encoder", "vision", "generator", "vocoder"]
    assert all(len(row["samples"]["lyra fast"]) == 1 and row["samples"]["lyra fast"][0] > 0 for row in got["rows"])
    assert got["left_out"] == [] and {row["weights"] for row in got["answer"]} == {"Q8_0, fast"}


class Scripted:
    """lyra and peers that record their requests; the peer "tired" fails at its second measurement."""

    def __init__(self):
        self.asked = []

    def bench(self, weights, precision, options):
        self.asked.append(f"lyra {precision}")
        rows = [("speech encoder", "one window"), ("language model", "decode after 128")]
        return [{"part": part, "what": what, "value": 1, "unit": "s", "limit_samples": [2e9, 3e9]}
                for part, what in rows]

    def reading(self):
        self.asked.append("read")
        return 1 + self.asked.count("read")

    def start(self, name):
        return ScriptedPeer(name, self.asked)


class ScriptedPeer:
    idle_share, idle_processor = 0.25, 9

    def __init__(self, name, asked):
        self.name, self.asked = name, asked

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.asked.append(f"{self.name} ends")

    def ask(self, do, **request):
        if do == "load":
            return {"version": "1", "features": ""}
        self.asked.append(self.name if do != "hold" else f"{self.name} holds {request['after']}")
        if self.name == "tired" and self.asked.count("tired") == 2:
            raise Failure("enough")
        return {"value": 2}


def test_contenders_take_turns_and_a_failed_one_is_skipped():
    (group,) = plan(["encoder"], ["q8_0"], ["exact"], [512], [128], 16)
    group.peers = {"tired": {}, "steady": {}, "unwanted": {}}
    scripted, result = Scripted(), {"rows": [], "versions": {}, "features": {}, "notes": [], "left_out": []}
    Rounds(scripted, scripted.start, "mini", 3, result, lambda: None).run(group, ["tired", "steady"])
    assert scripted.asked == [
        "lyra exact", "tired", "steady", "lyra exact", "tired", "steady", "lyra exact", "steady",
        "steady ends", "tired ends"]
    assert result["rows"][0]["samples"] == {"lyra exact": [1, 1, 1], "tired": [2], "steady": [2, 2, 2]}
    assert result["left_out"] == ["tired, speech encoder, Q8_0: enough"]
    assert result["notes"] == ["steady, speech encoder, Q8_0: its process used 25% of a processor while it waited"]


def test_a_peer_that_crashes_is_mended_once():
    (group,) = plan(["encoder"], ["q8_0"], ["exact"], [512], [128], 16)
    group.peers = {"steady": {}}

    def run(crashes, how):
        class Crashing(ScriptedPeer):
            def ask(self, do, **request):
                if do == "load" and crashes:
                    raise Crash(crashes.pop())
                return super().ask(do, **request)

        scripted = Scripted()
        result = {"rows": [], "versions": {}, "features": {}, "notes": [], "left_out": []}
        start = lambda name: Crashing(name, scripted.asked)  # noqa: E731
        Rounds(scripted, start, "mini", 1, result, lambda: None, lambda name: how).run(group, ["steady"])
        return result

    mended = run(["gone"], "compiled otherwise")
    assert mended["rows"][0]["samples"]["steady"] == [2] and mended["left_out"] == []
    assert mended["notes"][0] == "steady crashed (gone) and was then compiled otherwise"
    for crashes, how in ((["gone"], None), (["gone", "gone"], "compiled otherwise")):
        assert run(crashes, how)["left_out"] == ["steady, speech encoder, Q8_0: gone"]


def test_tiles_are_left_out_of_a_compilation():
    flags = build_flags("llama-cpp-python", has_tiles=False)
    assert "-DGGML_NATIVE=OFF" in flags["CMAKE_ARGS"] and "-mno-amx-tile" in flags["CFLAGS"].split()
    assert build_flags("llama-cpp-python")["CFLAGS"] == "-march=native"


def test_each_machine_has_its_section_of_the_results():
    old, new = ({"processor": name, "features": ["avx2"]} for name in ("Old", "New"))
    text = with_section("# Results\n", old, "| old |\n")
    text = with_section(text, new, "| first |\n")
    assert text.index("# Results") < text.index("## Old") < text.index("| old |") < text.index("## New")
    again = with_section(text, new, "| \\1 second |\n")
    assert again == text.replace("| first |", "| \\1 second |")
    # Switched-off features make another machine.
    assert with_section(again, {**new, "features": []}, "| less |").startswith(again.rstrip())


def test_memory_is_read_around_each_sample_of_decoding_and_nothing_else():
    (group,) = plan(["decode"], ["q8_0"], ["exact"], [512], [128], 16)
    group.peers = {"steady": {}}
    scripted, result = Scripted(), {"rows": [], "versions": {}, "features": {}, "notes": [], "left_out": []}
    Rounds(scripted, scripted.start, "mini", 1, result, lambda: None).run(group, ["steady"])
    assert scripted.asked == ["lyra exact", "steady holds 128", "read", "steady", "read", "steady ends"]
    assert result["rows"][0]["reading"] == {"lyra exact": [[2, 3]], "steady": [[2, 3]]}


def test_failures_are_named_and_the_others_continue(tool, tmp_path):
    ended = compare(
        "--tool", tool("fast"), "--peers", "none", "--rounds", 2, "--only", "prefill,vocoder", "--weights", "q8_0,bf16",
        "--prompts", "32", "--json", tmp_path / "out.json")
    assert ended.returncode == 0, ended.stderr
    got = json.loads((tmp_path / "out.json").read_text())
    assert [list(row["samples"]) for row in got["rows"]] == [["lyra exact"], ["lyra exact"], []]
    assert all(len(samples) == 2 for row in got["rows"] for samples in row["samples"].values())
    assert "lyra fast, language model, Q8_0: lyra: no such precision (exit 1)" in got["left_out"]
    assert "lyra exact, vocoder, F32: its benchmark has no row 'speech of 100 units'" in got["left_out"]
    assert all(f"- {note}\n" in ended.stdout for note in got["left_out"])


@pytest.mark.parametrize("arguments, part", [
    (["--tool", "/nowhere/lyra", "--peers", "none"], "/nowhere/lyra"),
    (["--only", "prefil"], "prefil"), (["--weights", "f8"], "f8"), (["--rounds", "0"], "'0'"),
    (["--peers", "x"], "'x'")])
def test_wrong_arguments_are_named(arguments, part):
    ended = compare(*arguments)
    assert ended.returncode != 0 and ended.stdout == "" and part in ended.stderr and "Traceback" not in ended.stderr


def test_every_option_is_explained():
    ended = compare("--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    for option in (
            "--tool", "--threads", "--rounds", "--only", "--weights", "--peers", "--venv", "--json", "--results"):
        assert f"\n  {option} " in ended.stdout


@pytest.fixture
def worker(tmp_path):
    """Starts a worker of the benchmark's that can wait, print, fail and die."""
    script = tmp_path / "worker_script.py"
    script.write_text(f"""import os, sys, time
sys.path.insert(0, {str(BENCHMARKS)!r})
from worker import serve
def wait(seconds):
    print("noise")
    time.sleep(seconds)
    return {{"value": seconds}}
def fail(): raise ValueError("no such thing\\nmore")
def spin():
    import threading
    threading.Thread(target=lambda: [None for _ in iter(int, 1)], daemon=True).start()
    return {{}}
serve({{"wait": wait, "fail": fail, "die": lambda: os._exit(3), "spin": spin}})
""")
    started = []

    def start(patience):
        started.append(Peer("x", script, [], sys.executable, tmp_path, 1, patience))
        return started[-1]

    yield start
    for peer in started:
        peer.__exit__()


def test_a_worker_answers_fails_and_continues(worker):
    peer = worker(60)
    assert peer.ask("wait", seconds=0) == {"value": 0}
    with pytest.raises(Failure, match="^ValueError: no such thing$"):
        peer.ask("fail")
    assert peer.ask("wait", seconds=0) == {"value": 0}


def test_a_worker_that_ends_or_is_late_is_a_failure(worker):
    with pytest.raises(Failure, match="worker_script.log"):
        worker(60).ask("die")
    peer = worker(1)
    with pytest.raises(Failure, match="no answer after 1 s"):
        peer.ask("wait", seconds=30)
    with pytest.raises(Failure):
        peer.ask("wait", seconds=0)


def test_a_worker_that_is_busy_while_it_waits_is_noticed(worker):
    shares = []
    for request in ("wait", "spin"):
        peer = worker(60)
        peer.ask(request, **({"seconds": 0} if request == "wait" else {}))
        time.sleep(1)
        peer.ask("wait", seconds=0)
        shares.append(peer.idle_share)
    assert shares[0] < 0.1 < shares[1]
