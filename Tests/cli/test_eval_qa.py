"""`eval qa` and `eval score-qa`: questions of a data set, typed and spoken, their answers and scores."""

import fcntl
import json
import os
import signal
import subprocess
import time

import numpy as np
import pytest
from PIL import Image

from support import FIXTURES, MP3, TOOL, answer, case, fails, is_wrong_usage, lyra, model_of, write_wav

TOKENS = ("--max-tokens", 6)
MODEL = (*model_of("a"), *TOKENS)


def turns(*texts):
    return [{"from": ("human", "gpt")[n % 2], "value": text} for n, text in enumerate(texts)]


@pytest.fixture
def folder(tmp_path, recordings, pictures):
    os.symlink(recordings["a_short"], tmp_path / "a.wav")
    os.symlink(pictures["a_small"], tmp_path / "a.png")
    return tmp_path


@pytest.fixture(scope="module")
def answers(recordings, pictures):
    """The answers to a question about a picture: spoken, and typed."""
    media = ("--image", pictures["a_small"])
    spoken = answer(*media, "--audio", recordings["a_short"], "--prompt", "Briefly.", *TOKENS)
    typed = answer(*media, "--prompt", "What is it?\nBriefly.", *TOKENS)
    assert spoken["text"] != typed["text"]
    return spoken, typed


def question(expected, **more):
    return {
        "id": "one", "image": "a.png", "speech": "a.wav", "speech_asr": "What is it?",
        "conversations": turns("<image>\n<speech>\nBriefly.", expected), **more}


def write(folder, items, name="data.json"):
    path = folder / name
    path.write_text("\n".join(map(json.dumps, items)) if name.endswith("l") else json.dumps(items, indent=1))
    return path


def qa(data, *arguments, model=MODEL, **options):
    """→ the process and what --json wrote, if anything"""
    out = data.parent / "report.json"
    out.unlink(missing_ok=True)
    ended = lyra("eval", "qa", *model, "--data", data, "--json", out, *arguments, **options)
    return ended, json.loads(out.read_text()) if out.exists() else None


def test_typed_and_spoken_answers_are_those_of_generate(folder, answers):
    spoken, typed = answers
    items = [
        question(spoken["text"], kind="k"),
        question("unused", id=2, answers=[typed["text"], typed["text"], {"answer": "x"}]),
    ]
    ended, got = qa(write(folder, items), "--question", "both", "--normalize", "none", "--seed", 5)
    assert ended.returncode == 0 and "random" in ended.stderr and ended.stderr.count("\n") == 1
    assert [(line["question"], line["answer"]) for line in got["lines"]] == [
        ("typed", typed["text"]), ("spoken", spoken["text"])] * 2
    assert [line["exact"] for line in got["lines"]] == [0, 1, 1, 0]
    assert [line["accuracy"] for line in got["lines"]] == [None, None, pytest.approx(4 / 9, abs=1e-6), 0]
    assert [line["media_tokens"] for line in got["lines"][:2]] == [
        typed["usage"]["media_tokens"], spoken["usage"]["media_tokens"]]
    assert got["lines"][0]["prompt"] == "<image>What is it?\nBriefly."
    typed_scores, spoken_scores = got["scores"]["typed"], got["scores"]["spoken"]
    assert typed_scores["exact"] == {"mean": 0.5, "low": 0, "high": 1, "count": 2} == spoken_scores["exact"]
    assert (typed_scores["accuracy"]["count"], spoken_scores["kinds"]["k"]["exact"]["mean"]) == (1, 1)
    assert got["typed_minus_spoken"]["exact"] == {"mean": 0, "low": -1, "high": 1, "count": 2}
    header, *rows, last = ended.stdout.splitlines()
    assert header.split("\t") == ["exact", "accuracy", "question", "kind", "item", "expected", "answer"]
    assert rows[1].split("\t")[:5] == ["1", "-", "spoken", "k", "one"]
    assert last.startswith("typed - spoken: exact +0.00 points (-100.00 points to +100.00 points) of 2")


def test_without_a_form_questions_are_as_the_item_has_them(folder, answers):
    text = answer("--prompt", "Hello\nShort.", *TOKENS)["text"]
    items = [question(answers[0]["text"]), {"conversations": turns("Hello", "x")}]
    ended, got = qa(write(folder, items, "data.jsonl"))
    assert ended.returncode == 0
    assert got["lines"][0]["answer"] == answers[0]["text"]
    ended, got = qa(write(folder, items[1:], "data.jsonl"), "--prompt", "Short.")
    assert [line["answer"] for line in got["lines"]] == [text]


def test_earlier_turns_are_the_items_own(folder):
    asked = "one<|im_end|>\n<|im_start|>assistant\n1<|im_end|>\n<|im_start|>user\ntwo"
    expected = answer("--prompt", asked, "--special-tokens", *TOKENS)
    ended, got = qa(write(folder, [{"conversations": turns("one", "1", "two", "2")}]))
    assert ended.returncode == 0
    (line,) = got["lines"]
    assert (line["answer"], line["prompt_tokens"]) == (expected["text"], expected["usage"]["prompt_tokens"])


def test_questions_without_an_answer_are_counted_by_their_reasons(folder, answers):
    items = [
        question("x"), {"conversations": [{"from": "bot", "value": ""}]},
        {"conversations": turns("no answer")}, question("x", speech="nowhere.wav"),
        question("x", speech_asr=None), {"conversations": turns("typed only", "x")},
        question("x", image="a.wav"),
    ]
    ended, got = qa(write(folder, items), "--question", "both")
    assert ended.returncode == 1
    assert got["failed"] == {"item": 2, "no_answer": 2, "no_transcript": 1, "no_recording": 1, "media": 3}
    assert (got["questions"], got["answered"]) == (14, 5)
    assert [(line["item"], line["question"]) for line in got["lines"] if "answer" in line] == [
        (1, "typed"), (1, "spoken"), (4, "typed"), (5, "spoken"), (6, "typed")]
    note, *notes, last = ended.stderr.splitlines()
    assert len(notes) == 9 and all(line.startswith("not answered: ") for line in notes)
    assert f"{folder / 'data.json'}, line" in notes[0] and "conversations[0].from" in notes[0]
    assert last.startswith("lyra: 9 of 14 questions have no answer; the first is of item 2")
    assert "without an answer: item 2, no_answer 2" in ended.stdout
    assert got["typed_minus_spoken"]["exact"]["count"] == 1


def test_published_settings_are_options(folder, recordings, pictures):
    """A picture shrunk to a longest side as Pillow shrinks it; the first 2 s of a recording, in one window."""
    Image.open(pictures["a_small"]).resize((60, 36), Image.NEAREST).save(folder / "shrunk.png")
    write_wav(folder / "cut.wav", case("a", "speech_short")["in.pcm"][:31999])
    media = ("--image", folder / "shrunk.png", "--audio", folder / "cut.wav", "--prompt", "Briefly.")
    expected = answer(*media, "--adapter", "speech", "--extractor", "blocks=2,keep=0.5", *TOKENS)
    ended, got = qa(
        write(folder, [question("x")]), "--image-side", 60, "--speech-seconds", 2, "--adapter", "speech",
        "--extractor", "blocks=2,keep=0.5")
    assert ended.returncode == 0
    (line,) = got["lines"]
    assert line["answer"] == expected["text"]
    assert line["media_tokens"] == expected["usage"]["media_tokens"]


def test_a_run_is_continued_with_the_same_settings_only(folder, answers):
    data, log = write(folder, [question("x"), question("y", id="two")]), folder / "answers.jsonl"
    ended, whole = qa(data, "--out", log)
    assert ended.returncode == 0
    run, first, second = log.read_text().splitlines()
    assert json.loads(run)["run"]["max_tokens"] == 6
    assert [json.loads(line) for line in (first, second)] == whole["lines"]
    fails(qa(data, "--out", log)[0], log, "--resume")
    # As if killed while the second line was written. The first answer is not asked for again: its mark stays.
    marked = first.replace(json.dumps(whole["lines"][0]["answer"]), '"marked"')
    log.write_text(f"{run}\n{marked}\n{second[:40]}")
    ended, got = qa(data, "--out", log, "--resume")
    assert ended.returncode == 0
    assert [line["answer"] for line in got["lines"]] == ["marked", whole["lines"][1]["answer"]]
    assert log.read_text() == f"{run}\n{marked}\n{second}\n"
    fails(qa(data, "--out", log, "--resume", "--max-tokens", 7, model=model_of("a"))[0], log, "other settings")
    ended = qa(data, "--out", folder / "new.jsonl", "--resume")[0]
    assert ended.returncode == 0 and (folder / "new.jsonl").read_text() == f"{run}\n{first}\n{second}\n"
    # Other answers to expect under the same names, an adapter, another folder.
    data.write_text(data.read_text().replace('"y"', '"z"'))
    fails(qa(data, "--out", log, "--resume")[0], log, "other settings", "data_checksum")
    data.write_text(data.read_text().replace('"z"', '"y"'))
    adapter = f"speech={FIXTURES}/a/lyra/long_speech_lora"
    fails(qa(data, "--out", log, "--resume", "--adapter-dir", adapter)[0], log, "other settings")
    fails(qa(data, "--out", log, "--resume", "--image-folder", folder)[0], log, "other settings")
    # A file that another run writes to.
    with log.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        fails(qa(data, "--out", log, "--resume")[0], log, "another run writes to it")
    assert qa(data, "--out", log, "--resume")[0].returncode == 0
    # A file of something else stays as it is.
    other = folder / "other.json"
    other.write_text('{"a": 1}')
    fails(qa(data, "--out", other, "--resume")[0], other, "name another file")
    assert other.read_text() == '{"a": 1}'


def test_existing_answers_are_scored_again(folder, answers):
    data, log = write(folder, [question("x", kind="k"), question("y")]), folder / "answers.jsonl"
    ended, _ = qa(data, "--question", "both", "--out", log, "--resamples", 50, "--seed", -3)
    again = lyra("eval", "score-qa", log, "--resamples", 50, "--seed", -3)
    assert (again.returncode, again.stderr, again.stdout) == (0, "", ended.stdout)
    # While its last line is being written. A file of another program can lack the last line break.
    whole = log.read_text()
    log.write_text(whole[:-20])
    fails(lyra("eval", "score-qa", log), f"{log}, line 5: the last line is not complete")
    log.write_text(whole[:-1])
    assert lyra("eval", "score-qa", log).returncode == 0


def test_an_empty_turn_is_no_answer_to_expect(folder):
    ended, got = qa(write(folder, [question(" "), question("", answers=["x"])]))
    assert ended.returncode == 1 and ended.stderr.count("not answered: ") == 1
    assert "item 1: there is no answer to compare with" in ended.stderr and "item 2" not in ended.stderr
    assert [line["expected"] for line in got["lines"]] == [[], ["x"]]


def score(tmp_path, lines, *arguments):
    file, out = tmp_path / "lines.jsonl", tmp_path / "scores.json"
    file.write_text("".join(json.dumps(line) + "\n" for line in lines))
    ended = lyra("eval", "score-qa", file, "--json", out, *arguments)
    assert (ended.returncode, ended.stderr) == (0, "")
    return json.loads(out.read_text())


def test_intervals_shrink_with_the_number_of_questions(tmp_path):
    """The interval of a share p of n questions is about p ± 1.96 · √(p (1 - p) / n)."""
    for count in (50, 800):
        lines = [{"item": n + 1, "expected": ["Yes"], "answer": ("yes.", "no")[n % 4 == 0]} for n in range(count)]
        exact = score(tmp_path, lines)["scores"]["given"]["exact"]
        half = 1.96 * np.sqrt(0.75 * 0.25 / count)
        assert exact["count"] == count and exact["mean"] == pytest.approx(1 - -(-count // 4) / count)
        assert exact["high"] - exact["low"] == pytest.approx(2 * half, rel=0.15)


def test_the_normalizer_decides_what_is_equal(tmp_path):
    lines = [
        {"item": n + 1, "expected": [expected], "answer": given} for n, (expected, given) in enumerate([
            ("the T-shirt", "t shirt."), ("21", "twenty-one"), ("2", "two"), ("same ", "same"), ("a", "b")])]
    for name, exact in [("vqa", [1, 0, 1, 1, 0]), ("english", [0, 1, 1, 1, 0]), ("none", [0, 0, 0, 1, 0])]:
        assert [line["exact"] for line in score(tmp_path, lines, "--normalize", name)["lines"]] == exact


def test_a_data_set_from_standard_input_is_relative_to_the_current_directory(folder, answers):
    data = write(folder, [question(answers[0]["text"])])
    with data.open() as content:
        ended = subprocess.run(
            [TOOL, "eval", "qa", *map(str, MODEL), "--data", "-", "--normalize", "none"], stdin=content, cwd=folder,
            capture_output=True, encoding="utf-8", timeout=120)
    assert ended.returncode == 0 and "given: exact 100.00 %" in ended.stdout


def test_media_have_folders_of_their_own(folder, recordings, pictures, answers, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("data")
    data = write(elsewhere, [question(
        answers[0]["text"], speech=recordings["a_short"].name, image=pictures["a_small"].name)])
    ended, got = qa(
        data, "--image-folder", pictures["a_small"].parent, "--speech-folder", recordings["a_short"].parent,
        "--normalize", "none")
    assert ended.returncode == 0 and got["lines"][0]["exact"] == 1


def test_a_model_that_lacks_a_part_is_named_once(folder, bare):
    data = write(folder, [question("x")] * 3)
    ended = lyra("eval", "qa", "--model", bare, "--data", data)
    assert ended.returncode == 1 and ended.stderr.splitlines()[-1].startswith("lyra: ")
    assert "not answered" not in ended.stderr


def test_ctrl_c_keeps_the_finished_answers(folder, endless):
    data = write(folder, [{"speech": str(MP3), "conversations": turns("<speech>", "x")}] * 1000)
    log = folder / "answers.jsonl"
    command = [TOOL, "eval", "qa", *map(str, endless), "--max-tokens", "100", "--data", str(data), "--out", str(log)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and b"interrupted after" in err
    answered = len(log.read_text().splitlines()) - 1
    assert answered >= 1 and b"given: exact " in out and f" of {answered}".encode() in out


@pytest.mark.parametrize("line, part", [
    ('{"expected": ["a"], "answer": "b"}', "item"), ('{"item": 1, "expected": ["a"]}', "answer"),
    ('{"item": 1, "expected": "a", "answer": "b"}', "expected"), ("no json", "expected null"),
    ('{"item": 1, "expected": [], "answer": "", "question": "sung"}', "question")])
def test_an_invalid_line_of_answers_is_named(line, part, tmp_path):
    file = tmp_path / "answers.jsonl"
    file.write_text('{"item": 1, "expected": ["a"], "answer": "b"}\n' + line + "\n")
    fails(lyra("eval", "score-qa", file), f"{file}, line 2", part)


@pytest.mark.parametrize("content, part", [("", "empty"), ("[]", "no items"), ("[{", "truncated"), ("x", "JSON")])
def test_an_invalid_data_set_is_named(content, part, tmp_path):
    data = tmp_path / "data.json"
    data.write_text(content)
    fails(qa(data)[0], data, part)


def test_wrong_usage_is_64(tmp_path):
    data = tmp_path / "data.json"
    is_wrong_usage(lyra("eval", "qa", *MODEL), "--data")
    for arguments, part in [
        (("--limit", 0), "--limit"), (("--image-side", 20), "--image-side"), (("--resume",), "--out"),
        (("--speech-seconds", 0), "--speech-seconds"), (("--resamples", 0), "--resamples"),
        (("--question", "sung"), "sung"), (("--normalize", "magic"), "magic")]:
        is_wrong_usage(qa(data, *arguments)[0], part)
