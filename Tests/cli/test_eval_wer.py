"""`eval wer`: manifests, transcription, and recordings that cannot be read."""

import json
import os
import shutil
import signal
import subprocess
import time

import pytest

from support import MP3, TOOL, answer, fails, is_wrong_usage, lyra, model_of

MODEL = (*model_of("a"), "--max-tokens", 6)
PROMPT = "\nRecord the spoken words as text."


@pytest.fixture(scope="module")
def hypotheses(recordings):
    """The answers to the published evaluation's question, by recording."""
    return {
        name: answer("--audio", recordings[name], "--prompt", PROMPT, "--max-tokens", 6)["text"]
        for name in ("a_short", "b_short")}


@pytest.fixture
def folder(tmp_path, recordings):
    for name in ("a_short", "b_short"):
        os.symlink(recordings[name], tmp_path / f"{name}.wav")
    return tmp_path


def wer(*arguments, **options):
    return lyra("eval", "wer", *MODEL, *arguments, **options)


def rows(ended):
    """The lines between the header and the two totals."""
    header, *lines, total, as_one = ended.stdout.splitlines()
    assert header.split("\t") == ["WER", "N", "S", "D", "I", "recording", "heard"]
    assert total.startswith("WER ") and as_one.startswith("WER ")
    return [line.split("\t") for line in lines]


def test_the_hypothesis_is_the_answer_to_the_published_question(folder, hypotheses):
    manifest, out = folder / "manifest.jsonl", folder / "out.json"
    transcripts = [("a_short.wav", hypotheses["a_short"]), (str(folder / "b_short.wav"), "something else")]
    manifest.write_text("\n\n".join(json.dumps({"audio": name, "text": text}) for name, text in transcripts))
    ended = wer("--manifest", manifest, "--json", out)
    assert ended.returncode == 0 and "random" in ended.stderr and ended.stderr.count("\n") == 1
    first, second = rows(ended)
    assert first[0] == "0.00 %" and second[0] != "0.00 %"
    got = json.loads(out.read_text())
    assert [line["hypothesis"] for line in got["lines"]] == [hypotheses["a_short"], hypotheses["b_short"]]
    assert (got["prompt"], got["recordings"], got["transcribed"], got["failed"]) == (PROMPT, 2, 2, [])
    again = lyra("eval", "score", out)
    assert again.stdout == ended.stdout


@pytest.mark.parametrize("layout", ["tsv", "speech", "data", "trans", "folder"])
def test_every_layout_of_a_manifest_is_read(layout, folder, hypotheses):
    if layout == "tsv":
        manifest, line = folder / "manifest.tsv", "a_short.wav\tSome Text\r\n"
    elif layout == "speech":
        manifest, line = folder / "manifest.txt", '{"speech": "a_short.wav", "text": "Some Text"}\n'
    elif layout == "data":
        manifest = folder / "data.jsonl"
        line = '{"id": "x", "long_speech": ["a_short.wav"], "speech_asr": "Some Text", "conversations": []}\n'
    else:
        manifest, line = folder / "61/70968/61-70968.trans.txt", "a_short SOME TEXT\n"
        manifest.parent.mkdir(parents=True)
        shutil.copy(folder / "a_short.wav", manifest.parent / "a_short.wav")
    manifest.write_text(line)
    ended = wer("--manifest", folder if layout == "folder" else manifest)
    assert ended.returncode == 0
    (row,) = rows(ended)
    assert row[1] == "2"
    assert row[5] == ("61/70968/a_short.wav" if layout == "folder" else "a_short.wav")
    assert row[6].split() == hypotheses["a_short"].split()


def test_a_recording_that_cannot_be_read_is_named_and_the_others_continue(folder, hypotheses):
    (folder / "damaged.wav").write_bytes(b"RIFF")
    manifest, out = folder / "manifest.tsv", folder / "out.json"
    manifest.write_text("nowhere.wav\tx\ndamaged.wav\tx\na_short.wav\tsome text\n")
    ended = wer("--manifest", manifest, "--json", out)
    assert ended.returncode == 1
    note, first, second, last = ended.stderr.splitlines()
    assert "nowhere.wav" in first and "damaged.wav" in second
    assert last.startswith("lyra: 2 of 3 recordings could not be transcribed")
    assert [row[5] for row in rows(ended)] == ["a_short.wav"]
    got = json.loads(out.read_text())
    assert [failed["audio"] for failed in got["failed"]] == ["nowhere.wav", "damaged.wav"]
    assert got["transcribed"] == 1 and got["words"] == 2


def test_a_model_without_speech_input_is_named_once(folder, bare):
    (folder / "manifest.tsv").write_text("a_short.wav\tx\n" * 3)
    fails(lyra("eval", "wer", "--model", bare, "--manifest", folder / "manifest.tsv"), "whisper-tiny")


def test_a_limit_takes_the_first_recordings(folder):
    manifest = folder / "manifest.tsv"
    manifest.write_text("a_short.wav\tsome text\nnowhere.wav\tx\n")
    assert wer("--manifest", manifest, "--limit", 1).returncode == 0


@pytest.mark.parametrize("content, part", [
    ("", "no lines"), ("only words\n", "line 1"), ("a.wav\tx\n{broken\n", "line 2"), ('{"text": "x"}', "audio"),
    ('{"audio": "x"}', "text"), ('{"speech": ["a", "b"], "text": "x"}', "2 recordings")])
def test_an_invalid_manifest_is_named(content, part, tmp_path):
    manifest = tmp_path / "manifest"
    manifest.write_text(content)
    fails(wer("--manifest", manifest), manifest, part)


def test_a_folder_without_transcripts_is_named(tmp_path):
    fails(wer("--manifest", tmp_path), tmp_path, ".trans.txt")


def test_ctrl_c_keeps_the_finished_lines(folder, endless):
    manifest = folder / "manifest.tsv"
    manifest.write_text(f"{MP3}\tsome text\n" * 1000)
    command = [TOOL, "eval", "wer", *map(str, endless), "--max-tokens", "300", "--manifest", str(manifest)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdout.readline()
    process.stdout.readline()
    time.sleep(0.2)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 1 and b"interrupted after" in err
    assert out.splitlines()[-2].startswith(b"WER ")


def test_wrong_usage_is_64():
    is_wrong_usage(lyra("eval", "wer", *MODEL), "--manifest")
    is_wrong_usage(wer("--manifest", "x", "--limit", "0"), "--limit")


# The file system of /proc refuses even a superuser.
@pytest.mark.parametrize("out", ["nodir/x.json", "/proc/self/x.json", "."])
def test_a_report_that_cannot_be_written_is_named_before_the_work(out, folder):
    manifest = folder / "manifest.tsv"
    manifest.write_text("a_short.wav\tsome text\n")
    ended = wer("--manifest", manifest, "--json", out, cwd=folder)
    fails(ended, out)
    assert ended.stdout == ""


def test_texts_without_words_are_noted(folder):
    manifest = folder / "manifest.tsv"
    manifest.write_text("a_short.wav\t\n")
    ended = wer("--manifest", manifest)
    assert ended.returncode == 0 and ended.stdout.count("WER -") == 2
    assert "the normalized texts have no words" in ended.stderr
