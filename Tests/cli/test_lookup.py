"""Where the parts of a model are searched: beside the checkpoint, not in the current directory. A file that cannot be
examined is an error, not absent."""

import json
import os
import shutil
import tempfile
from pathlib import Path

import pytest

from support import MP3, fails, lyra

GREEDY = ("--prompt", "What?", "--temperature", "0", "--max-tokens", "8")


@pytest.fixture(scope="module")
def other(tmp_path_factory):
    """A checkpoint with other towers."""
    directory = tmp_path_factory.mktemp("other") / "made"
    assert lyra("make-tiny", directory, "--seed", 2).returncode == 0
    return directory


@pytest.fixture
def open_to_all():
    """A directory that any user can reach."""
    directory = Path(tempfile.mkdtemp())
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


# Commands that run without root's permissions, also if root runs the tests.
ANYBODY = {"user": 65534, "group": 65534, "extra_groups": []} if os.geteuid() == 0 else {}


def source(model, part, **options):
    ended = lyra("inspect", model, "--json", **options)
    assert ended.returncode == 0, ended
    return next(found["source"] for found in json.loads(ended.stdout)["parts"] if found["name"] == part)


def test_a_model_zoo_in_the_current_directory_changes_nothing(tiny, other, tmp_path):
    shutil.copytree(other / "model_zoo", tmp_path / "model_zoo")
    answers = []
    for directory in ("/", tmp_path):
        for part in ("speech tower", "vision tower"):
            assert source(tiny, part, cwd=directory).startswith(str(tiny))
        ended = lyra("generate", "--model", tiny, "--audio", MP3, *GREEDY, cwd=directory)
        assert ended.returncode == 0
        answers.append(ended.stdout)
    assert answers[0] == answers[1]


def test_a_model_zoo_in_the_current_directory_is_not_found_unless_it_is_named(tiny, tmp_path):
    model = tmp_path / "a/b/c/d/lyra"
    shutil.copytree(tiny, model)
    shutil.move(model / "model_zoo", tmp_path / "cwd/model_zoo")
    got = json.loads(lyra("inspect", model, "--json", cwd=tmp_path / "cwd").stdout)
    assert len(got["missing"]) == 4 and all("model_zoo" in why or "vocoder" in why for why in got["missing"])
    named = json.loads(lyra("inspect", model, "--json", "--towers", "model_zoo", cwd=tmp_path / "cwd").stdout)
    assert named["missing"] == []


def test_a_linked_checkpoint_has_neighbors_at_both_ends(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / "store/lyra")
    (tmp_path / "home").mkdir()
    (tmp_path / "home/link").symlink_to("../store/lyra")
    for end in ("store", "home"):
        zoo = tmp_path / end / "model_zoo"
        shutil.move(next(path for path in tmp_path.rglob("model_zoo")), zoo)
        for cwd, model in (("/", tmp_path / "home/link"), (tmp_path / "home", "link"), (tmp_path / "home/link", ".")):
            if model == "." and end == "home":
                continue  # "." does not tell which link led here.
            got = json.loads(lyra("inspect", model, "--json", cwd=cwd).stdout)
            assert got["missing"] == [], (end, cwd)


def test_added_tokens_that_cannot_be_examined_are_an_error(tiny, open_to_all):
    model, private = open_to_all / "model", open_to_all / "private"
    shutil.copytree(tiny, model)
    private.mkdir()
    shutil.move(model / "added_tokens.json", private / "added_tokens.json")
    (model / "added_tokens.json").symlink_to("../private/added_tokens.json")
    private.chmod(0)
    try:
        ended = lyra("generate", "--model", model, *GREEDY, **ANYBODY)
        fails(ended, model / "added_tokens.json", "Permission denied")
    finally:
        private.chmod(0o755)
    assert lyra("generate", "--model", model, *GREEDY, **ANYBODY).returncode == 0


@pytest.mark.parametrize("part", ["speech_lora", "model_zoo", "model_zoo/audio/whisper"])
def test_a_folder_that_cannot_be_listed_is_an_error(part, tiny, open_to_all):
    model = open_to_all / "model"
    shutil.copytree(tiny, model)
    (model / part).chmod(0)
    try:
        fails(lyra("inspect", model, **ANYBODY), model / part, "Permission denied")
    finally:
        (model / part).chmod(0o755)


def test_the_newest_vocoder_is_chosen(tiny, tmp_path):
    model = tmp_path / "lyra"
    shutil.copytree(tiny, model)
    (old,) = (model / "model_zoo/audio/vocoder").glob("g_*")
    for step in ("g_00000100", "g_99999999", "do_99999999"):
        shutil.copy(old, old.with_name(step))
    assert source(model, "vocoder").endswith("/g_99999999")


# The same name for a reader, but two names for the system.
COMPOSED, DECOMPOSED = b"\xc3\xa9".decode(), b"e\xcc\x81".decode()


def test_adapters_whose_names_look_alike_are_two(tiny, tmp_path):
    model = tmp_path / "lyra"
    shutil.copytree(tiny, model)
    shutil.copytree(model / "speech_lora", model / COMPOSED)
    shutil.copytree(model / "long_speech_lora", model / DECOMPOSED)

    def answer_with(adapter):
        ended = lyra("generate", "--model", model, "--adapter", adapter, "--json", *GREEDY)
        assert ended.returncode == 0, ended
        return json.loads(ended.stdout)["token_ids"]

    assert answer_with(COMPOSED) == answer_with("speech") != answer_with(DECOMPOSED) == answer_with("long_speech")


def test_folders_whose_names_look_alike_are_two(tiny, tmp_path):
    shutil.copytree(tiny, tmp_path / DECOMPOSED / "lyra")
    (tmp_path / COMPOSED).mkdir()
    (tmp_path / COMPOSED / "link").symlink_to(f"../{DECOMPOSED}/lyra")
    shutil.move(tmp_path / DECOMPOSED / "lyra/model_zoo", tmp_path / DECOMPOSED / "model_zoo")
    assert json.loads(lyra("inspect", tmp_path / COMPOSED / "link", "--json").stdout)["missing"] == []


def test_what_a_file_system_keeps_for_itself_is_no_adapter(tiny, open_to_all):
    model = open_to_all / "lyra"
    shutil.copytree(tiny, model)
    for name in ("lost+found", ".Trash"):
        (model / name).mkdir(mode=0)
    got = json.loads(lyra("inspect", model, "--json", **ANYBODY).stdout)
    assert got["missing"] == []
