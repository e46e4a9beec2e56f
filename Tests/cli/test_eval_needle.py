"""`eval needle`: the model receives the recordings in order, with the clip at its depth; and the scores."""

import json
import signal
import subprocess
import time
from xml.etree import ElementTree

import numpy as np
import pytest

from support import TOOL, answer, case, fails, is_wrong_usage, lyra, model_of, write_wav

QUESTION, WANTED = "What is said?", "a 10 b"
ASKING = ("--question", QUESTION, "--answer", WANTED)


@pytest.fixture(scope="module")
def hay(tmp_path_factory, recordings):
    """A folder with 7 s and 2 s of audio in the order of names, not of creation, and another file. → path, samples"""
    folder = tmp_path_factory.mktemp("hay")
    first, second = case("b", "speech_short")["in.pcm"], case("a", "speech_short")["in.pcm"][:32000]
    write_wav(folder / "2.wav", second)
    write_wav(folder / "1.wav", first)
    (folder / "notes.txt").write_text("no audio")
    (folder / "deeper").mkdir()
    return folder, np.concatenate([first, second])


@pytest.fixture(scope="module")
def needle(tmp_path_factory):
    path = tmp_path_factory.mktemp("needle") / "needle.wav"
    samples = case("a", "speech_short")["in.pcm"][40000:48000] * np.float32(2)
    write_wav(path, samples)
    return path, samples


def ask(hay, needle, *arguments, model=model_of("a"), tokens=12):
    return lyra("eval", "needle", *model, "--haystack", hay[0], "--needle", needle[0], "--max-tokens", tokens,
                *(ASKING if "--question" not in arguments else ()), *arguments)


@pytest.mark.parametrize("seconds, depth", [(3, 0), (3, 1), (7.25, 0.5), (25, 0.25), (0.5, 1), (25, 1)])
def test_the_clip_is_at_its_depth(seconds, depth, hay, needle, tmp_path):
    """25 s contain the folder's 9 s almost three times; 0.5 s contain only the clip."""
    before = round((seconds * 16000 - len(needle[1])) * depth)
    after = round(seconds * 16000) - before - len(needle[1])
    endless_hay = np.tile(hay[1], 4)
    mixed = np.concatenate([endless_hay[:before], needle[1], endless_hay[before:before + after]])
    write_wav(tmp_path / "mixed.wav", mixed)
    expected = answer("--audio", tmp_path / "mixed.wav", "--prompt", QUESTION)
    out = tmp_path / "out.json"
    ended = ask(hay, needle, "--lengths", seconds, "--depths", depth, "--json", out)
    assert ended.returncode == 0
    (cell,) = json.loads(out.read_text())["cells"]
    assert (cell["seconds"], cell["depth"]) == (seconds, depth)
    assert cell["answer"] == expected["text"]
    assert cell["media_tokens"] == expected["usage"]["media_tokens"]


def similarity(wanted, given):
    """By the definition: the best over all substrings of the answer."""
    def edits(a, b):
        row = list(range(len(b) + 1))
        for i, x in enumerate(a, 1):
            row, above = [i], row
            for j, y in enumerate(b, 1):
                row.append(min(above[j - 1] + (x != y), above[j] + 1, row[-1] + 1))
        return row[-1]

    best = min(edits(wanted, given[i:j]) for i in range(len(given) + 1) for j in range(i, len(given) + 1))
    return 1 - best / len(wanted)


def normalized(text, tmp_path):
    lines = tmp_path / "lines.jsonl"
    lines.write_text(json.dumps({"text": text, "hypothesis": ""}) + "\n")
    assert lyra("eval", "score", lines, "--normalizer", "whisper", "--json", tmp_path / "n.json").returncode == 0
    return json.loads((tmp_path / "n.json").read_text())["lines"][0]["normalized_text"]


def test_every_cell_has_the_defined_scores(hay, needle, tmp_path):
    first = answer("--audio", needle[0], "--prompt", QUESTION)["text"]
    words = normalized(first, tmp_path).split()
    wanted = " ".join(words[1:3])
    out, picture = tmp_path / "out.json", tmp_path / "picture.svg"
    ended = ask(hay, needle, "--question", QUESTION, "--answer", wanted.upper() + "!", "--lengths", "0.5,40",
                "--depths", "0,0.5,1", "--json", out, "--picture", picture)
    assert ended.returncode == 0 and "notes.txt" in ended.stderr and "random" in ended.stderr
    got = json.loads(out.read_text())
    assert [(cell["seconds"], cell["depth"]) for cell in got["cells"]] == [
        (s, d) for s in (0.5, 40) for d in (0, 0.5, 1)]
    for cell in got["cells"]:
        given = normalized(cell["answer"], tmp_path)
        assert cell["exact"] == (f" {wanted} " in f" {given} ")
        assert cell["similarity"] == pytest.approx(similarity(wanted, given), abs=1e-6)
    assert [cell["exact"] for cell in got["cells"][:3]] == [1, 1, 1]
    assert got["means"][0] == {"seconds": 0.5, "exact": 1, "similarity": 1}
    mean = np.mean([cell["similarity"] for cell in got["cells"][3:]])
    assert got["means"][1]["similarity"] == pytest.approx(mean, abs=1e-6)
    texts = [element.text for element in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}text")]
    assert {"0.5 s", "40 s", "0 %", "50 %", "100 %", "mean similarity"} <= set(texts)
    assert texts.count("100 %") >= 5, "three cells, a depth and the scale"


def test_rows_of_the_table_are_the_cells(hay, needle):
    ended = ask(hay, needle, "--lengths", "1,2", "--depths", "0.5")
    header, *rows = ended.stdout.splitlines()
    assert header.split("\t") == ["seconds", "depth", "exact", "similarity", "media tokens", "answer"]
    assert [row.split("\t")[:2] for row in rows[:2]] == [["1", "0.5"], ["2", "0.5"]]
    assert [row.split(":")[0] for row in rows[2:]] == ["mean of 1 s", "mean of 2 s"]


def test_a_haystack_that_needs_too_much_memory_has_no_score_and_the_others_continue(hay, needle, tmp_path):
    out, picture = tmp_path / "out.json", tmp_path / "picture.svg"
    ended = ask(hay, needle, "--lengths", "5,100,6", "--depths", "0.5", "--max-memory", "2M", "--json", out,
                "--picture", picture)
    assert ended.returncode == 0
    first, second, third = json.loads(out.read_text())["cells"]
    assert "2097152" in second["error"] and "similarity" not in second
    assert "similarity" in first and "similarity" in third
    assert "out of memory" in ended.stdout.splitlines()[2]
    cells = [rect.get("fill") for rect in ElementTree.parse(picture).iter("{http://www.w3.org/2000/svg}rect")]
    assert cells.count("url(#none)") == 1


def test_a_haystack_shorter_than_its_needle_is_refused_before_the_work(hay, needle):
    ended = ask(hay, needle, "--lengths", "5,0.4")
    assert (ended.returncode, ended.stdout) == (1, "")
    assert "0.4 s" in ended.stderr and "0.5 s" in ended.stderr


def test_missing_files_are_named(hay, needle, tmp_path):
    fails(ask((tmp_path,), needle), tmp_path, "no recordings")
    fails(ask((tmp_path / "nowhere",), needle), "nowhere")
    for wrong in (tmp_path / "nowhere.wav", hay[0] / "notes.txt"):
        ended = ask(hay, (wrong,))
        assert ended.returncode == 1 and str(wrong) in ended.stderr


def test_a_folder_of_silent_files_does_not_go_on_forever(needle, tmp_path):
    write_wav(tmp_path / "empty.wav", [])
    ended = ask((tmp_path,), needle, "--lengths", "5")
    assert ended.returncode == 1 and "has no samples" in ended.stderr


def test_ctrl_c_keeps_the_finished_cells(hay, needle, endless, tmp_path):
    out = tmp_path / "out.json"
    command = [TOOL, "eval", "needle", *endless, "--haystack", hay[0], "--needle", needle[0], *ASKING,
               "--max-tokens", 200, "--lengths", ",".join(["5"] * 500), "--json", out]
    process = subprocess.Popen(
        [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1 and b"interrupted after" in err
    assert json.loads(out.read_text())["cells"]


def test_wrong_usage_is_64(hay, needle):
    is_wrong_usage(lyra("eval", "needle", *model_of("a"), "--haystack", "x"))
    for option, values in (("--lengths", ("0", "a", "5,")), ("--depths", ("2", "nan"))):
        for value in values:
            is_wrong_usage(ask(hay, needle, option, value), option)


def test_a_file_that_cannot_be_written_is_named_before_the_work(hay, needle, tmp_path):
    for option in ("--json", "--picture"):
        ended = ask(hay, needle, "--lengths", 3, option, "/nowhere/x")
        fails(ended, "/nowhere/x")
        assert ended.stdout == "" and "note" not in ended.stderr
    ended = ask(hay, needle, "--lengths", 3, "--depths", 0, "--json", "/dev/full", "--picture", tmp_path / "x.svg")
    assert ended.returncode == 1 and "/dev/full" in ended.stderr.splitlines()[-1]
    assert ElementTree.parse(tmp_path / "x.svg")
