"""File names that are not UTF-8: the tool takes them, as bytes, wherever it takes a file."""

import json
import os
import shutil
import subprocess

import pytest

from support import FIXTURES, GREEDY, MP3, TOOL, answer, case, fails, is_wrong_usage, model_of, read_wav, write_wav

LATIN = os.fsdecode(b"a\xe9.wav")
OTHER = os.fsdecode(b"a\xea.wav")
# A name in UTF-8 with the noncharacters that represent bytes inside the tool, and the bytes that they represent.
STRANGE = os.fsdecode(b"a\xef\xb7\x9e\xef\xb7\xa9.wav")


def lyra(*arguments, **options):
    """Like support.lyra, for names that are not text. → the process, with its output decoded like names"""
    ended = subprocess.run(
        [os.fsencode(TOOL), *(os.fsencode(str(argument)) for argument in arguments)], timeout=120,
        capture_output=True, **{"stdin": subprocess.DEVNULL, **options})
    # The output is UTF-8, whatever the names.
    ended.stdout, ended.stderr = ended.stdout.decode("utf-8"), ended.stderr.decode("utf-8")
    return ended


def generate(*arguments, **options):
    return lyra("generate", *(() if "--model" in arguments else model_of("a")), *GREEDY, *arguments, **options)


def succeeds(ended):
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return ended.stdout


@pytest.fixture
def folder(tmp_path, recordings):
    """A folder whose own name is not UTF-8, with recordings under three names."""
    inside = tmp_path / os.fsdecode(b"dir-\xff")
    inside.mkdir()
    for name, source in ((LATIN, "a_short"), (OTHER, "b_short"), (STRANGE, "a_short")):
        shutil.copy(recordings[source], inside / name)
    return inside


def test_recordings_of_such_names_are_distinguished(folder, recordings):
    for name, source in ((LATIN, "a_short"), (OTHER, "b_short"), (STRANGE, "a_short")):
        got = json.loads(succeeds(generate("--audio", folder / name, "--json")))
        assert got["token_ids"] == answer("--audio", recordings[source])["token_ids"]


@pytest.mark.parametrize("option", ["--image", "--video", "--sound"])
def test_every_medium_is_found_under_such_a_name(option, folder, pictures, clip):
    name = folder / os.fsdecode(b"m\xe9dium")
    shutil.copy({"--image": pictures["a_small"], "--video": clip, "--sound": MP3}[option], name)
    succeeds(generate(option, name, "--max-tokens", 1))


def test_spoken_answers_get_the_given_names(folder):
    os.remove(folder / LATIN), os.remove(folder / OTHER)
    for name, prompt in ((LATIN, "One"), (OTHER, "Two")):
        got = json.loads(succeeds(generate("--prompt", prompt, "--speak", folder / name, "--json")))
        assert got["audio"]["path"] == f"{folder.parent}/dir-\\xFF/" + {LATIN: "a\\xE9.wav", OTHER: "a\\xEA.wav"}[name]
    assert sorted(os.listdir(os.fsencode(folder))) == sorted(os.fsencode(name) for name in (LATIN, OTHER, STRANGE))
    assert read_wav(folder / LATIN)[1].tobytes() != read_wav(folder / OTHER)[1].tobytes()


def test_names_that_unicode_calls_equal_are_two_files(tmp_path):
    """The letter é as one code point and as two."""
    for name, prompt in (("caf\u00e9.wav", "One"), ("cafe\u0301.wav", "Two")):
        succeeds(generate("--prompt", prompt, "--speak", tmp_path / name))
    assert len(os.listdir(tmp_path)) == 2


def test_a_folder_name_can_begin_with_a_combining_mark(tmp_path):
    """A slash and a combining mark are one character in Swift, but two for the system."""
    out = tmp_path / "\u0301marks" / "\u0301made"
    assert lyra("make-tiny", out).returncode == 0
    assert os.listdir(tmp_path) == ["\u0301marks"] and (out / "config.json").exists()
    succeeds(lyra("generate", "--model", out, *GREEDY, "--prompt", "x", "--speak", out / "\u0301.wav"))
    assert (out / "\u0301.wav").exists()


def test_a_checkpoint_and_its_towers_are_found(folder, recordings):
    checkpoint, towers = folder / os.fsdecode(b"mod\xe8le"), folder / os.fsdecode(b"t\xf6wers")
    shutil.copytree(FIXTURES / "a/lyra", checkpoint)
    shutil.copytree(FIXTURES / "a/model_zoo", towers)
    parts = "--model", checkpoint, "--towers", towers
    got = json.loads(succeeds(generate(*parts, "--audio", recordings["a_short"], "--json")))
    assert got["token_ids"] == answer("--audio", recordings["a_short"])["token_ids"]
    vocoder = towers / "audio" / os.fsdecode(b"vocod\xe9")
    os.rename(towers / "audio/vocoder", vocoder)
    succeeds(generate(*parts, "--vocoder", vocoder, "--prompt", "x", "--speak", folder / LATIN))
    report = json.loads(succeeds(lyra("inspect", checkpoint, "--towers", towers, "--json")))
    assert report["model"].endswith("mod\\xE8le")
    assert any("t\\xF6wers" in part["source"] for part in report["parts"])
    table = succeeds(lyra("inspect", checkpoint, "--towers", towers))
    assert "t\\xF6wers" in table and "nothing is missing" in table


def test_a_converted_file_and_features_get_such_names(folder, pictures):
    one, features = folder / os.fsdecode(b"\xe9.gguf"), folder / os.fsdecode(b"\xe9.safetensors")
    assert "\\xE9.gguf" in lyra("convert", FIXTURES / "a/lyra", "--towers", FIXTURES / "a/model_zoo", "-o", one).stderr
    succeeds(lyra("generate", "--model", one, *GREEDY, "--prompt", "x"))
    succeeds(lyra("features", pictures["a_small"], "--out", features))
    assert one.exists() and features.exists()


@pytest.mark.parametrize("layout", ["tsv", "trans", "folder"])
def test_manifests_name_such_files(layout, folder, recordings):
    lines = [(LATIN, "one"), (OTHER, "two")]
    if layout == "tsv":
        manifest = folder / os.fsdecode(b"list-\xe9")
        manifest.write_bytes(b"\n".join(os.fsencode(name) + b"\t" + text.encode() for name, text in lines))
    else:
        manifest = folder / os.fsdecode(b"\xe9.trans.txt")
        manifest.write_bytes(b"\n".join(os.fsencode(name[:-4]) + b" " + text.encode() for name, text in lines))
    given = folder if layout == "folder" else manifest
    out = folder / os.fsdecode(b"out-\xe9.json")
    ended = lyra("eval", "wer", *model_of("a"), "--max-tokens", 4, "--manifest", given, "--json", out)
    assert ended.returncode == 0, ended
    got = json.loads(out.read_text("utf-8"))
    assert [line["audio"] for line in got["lines"]] == ["a\\xE9.wav", "a\\xEA.wav"]
    hypotheses = [answer("--audio", recordings[name], "--prompt", got["prompt"], "--max-tokens", 4)["text"]
             for name in ("a_short", "b_short")]
    assert [line["hypothesis"] for line in got["lines"]] == hypotheses
    # The transcripts can be scored under such a name, too.
    assert succeeds(lyra("eval", "score", out)) == ended.stdout


def test_a_manifest_must_be_utf8(folder):
    manifest = folder / "list"
    manifest.write_bytes(os.fsencode(LATIN) + b"\tcaf\xe9\n")
    fails(lyra("eval", "wer", *model_of("a"), "--manifest", manifest), "line 1: not UTF-8 text")


def test_a_haystack_of_such_names(folder, tmp_path):
    for name in (OTHER, STRANGE):
        os.remove(folder / name)
    needle = tmp_path / os.fsdecode(b"n\xe9edle.wav")
    write_wav(needle, case("a", "speech_short")["in.pcm"][:8000])
    out = tmp_path / os.fsdecode(b"\xe9.json")
    ended = lyra("eval", "needle", *model_of("a"), "--haystack", folder, "--needle", needle, "--question", "?",
                 "--answer", "x", "--lengths", 1, "--depths", 0, "--max-tokens", 1, "--json", out)
    assert ended.returncode == 0, ended
    assert json.loads(out.read_text("utf-8"))["needle"].endswith("n\\xE9edle.wav")


def test_messages_show_such_bytes_escaped(folder):
    fails(generate("--audio", folder / os.fsdecode(b"no\xe9.wav")), "dir-\\xFF/no\\xE9.wav: ")
    fails(generate("--model", folder / os.fsdecode(b"no\xe9"), "--prompt", "x"), "no\\xE9")
    is_wrong_usage(generate("--prompt", "x", os.fsdecode(b"loose\xe9")), "loose\\xE9")


def test_a_chat_takes_such_names(folder, recordings):
    expected = subprocess.run(
        [TOOL, "chat", *map(str, model_of("a")), *GREEDY], input=f"/audio {recordings['a_short']}\n\n".encode(),
        capture_output=True, timeout=120).stdout
    lines = b"/audio " + os.fsencode(folder / LATIN) + b"\n\n"
    ended = subprocess.run(
        [TOOL, "chat", *map(str, model_of("a")), *GREEDY], input=lines, capture_output=True, timeout=120)
    assert (ended.returncode, ended.stderr) == (0, b"") and ended.stdout == expected != b"\n"


def test_typed_text_that_is_not_utf8_is_repaired():
    got = json.loads(succeeds(generate("--prompt", os.fsdecode(b"caf\xe9 \xef\xb7\x9e\xef\xb7\xa9"), "--json")))
    assert got["token_ids"] == answer("--prompt", "caf\ufffd \ufdde\ufde9")["token_ids"]
