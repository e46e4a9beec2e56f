"""--extractor, --kv-type, --max-memory, --skip-silence: kept tokens equal the reference's, and usage counts them."""

import json
import re
import shutil

import numpy as np
import pytest

from support import FIXTURES, answer, case, fails, generate, is_wrong_usage, model_of, read_wav, write_wav


def long_turn(variant, recordings):
    return "--audio", recordings[f"{variant}_long"], "--prompt", "Summarize."


def image_turn(variant, recordings, pictures):
    return "--image", pictures[f"{variant}_tall"], "--audio", recordings[f"{variant}_short"]


def kept_media(want):
    """How many media tokens the reference kept after each block. Its lists also have all text tokens."""
    rows, index, counts = want["in.embeddings"].shape[0], 0, []
    while f"out.kept_{index}" in want:
        counts.append(len(want[f"out.kept_{index}"]))
        index += 1
    return rows, counts


def check(got, want, wav):
    assert got["token_ids"] == want["out.ids"].tolist() and got["units"] == want["out.units"].tolist()
    rows, counts = kept_media(want)
    usage = got["usage"]
    assert usage["prompt_tokens"] == rows
    text = rows - usage["media_tokens"]
    assert [count + text for count in usage["kept_per_block"]] == counts
    # As in test_golden_turns.
    assert np.abs(read_wav(wav)[1] - want["out.wav"]).max() <= 1e-4


@pytest.mark.parametrize("variant, turn, option", [
    ("a", "long", "blocks=4,keep=0.7"), ("b", "long", "keep=0.7,blocks=3"), ("b", "image", "blocks=2,keep=0.5"),
    ("a", "image", "gap=3,keep=0.5")])
def test_with_the_extractor_turns_equal_the_reference(variant, turn, option, recordings, pictures, tmp_path):
    fed = long_turn(variant, recordings) if turn == "long" else image_turn(variant, recordings, pictures)
    got = answer(*model_of(variant), *fed, "--extractor", option, "--speak", tmp_path / "answer.wav")
    check(got, case(variant, f"turn_{turn}_extractor"), tmp_path / "answer.wav")


@pytest.fixture(scope="module")
def compressing(tmp_path_factory):
    """A copy of fixture a whose config enables the extractor, after every 3 of its 8 layers."""
    directory = tmp_path_factory.mktemp("compressing") / "a"
    shutil.copytree(FIXTURES / "a", directory, ignore=shutil.ignore_patterns("cases"))
    path = directory / "lyra/config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"compress_gap": 3, "keep_rate": 0.5}))
    return "--model", directory / "lyra", "--towers", directory / "model_zoo"


def test_a_checkpoint_can_enable_the_extractor(compressing, recordings, pictures, tmp_path):
    got = answer(*compressing, *image_turn("a", recordings, pictures), "--speak", tmp_path / "answer.wav")
    check(got, case("a", "turn_image_extractor"), tmp_path / "answer.wav")


def test_the_extractor_can_be_switched_off_whatever_the_checkpoint_says(compressing, recordings):
    got = answer(*compressing, *long_turn("a", recordings), "--extractor", "off")
    assert got["token_ids"] == case("a", "turn_long")["out.ids"].tolist()
    assert got["usage"]["kept_per_block"] == []


@pytest.mark.parametrize("blocks, keep", [(2, 0.3), (4, 0.55), (8, 0.9), (1, 0.5), (4, 1)])
def test_kept_counts_follow_the_definition(blocks, keep, recordings):
    """max(32, ⌊count · keep⌋) in float32 after each block but the last."""
    got = answer(*long_turn("a", recordings), "--extractor", f"blocks={blocks},keep={keep}")
    gap, count, expected = 8 // blocks, got["usage"]["media_tokens"], []
    for layer in range(8):
        if (layer + 1) % gap == 0 and layer + 1 < 8:
            count = min(count, max(32, int(np.float32(count) * np.float32(keep))))
            expected.append(count)
    assert got["usage"]["kept_per_block"] == ([] if keep == 1 else expected)


@pytest.mark.parametrize("type", ["f16", "bf16", "q8"])
def test_smaller_caches_answer(type, recordings):
    got = answer(*long_turn("a", recordings), "--kv-type", type)
    if type != "q8":  # 8 bits may change a token
        assert got["token_ids"] == case("a", "turn_long")["out.ids"].tolist()
    assert got["stop"] in ("length", "eos")


def test_a_turn_over_the_memory_limit_is_refused_with_both_numbers(recordings):
    """933 rows are 4 pages of 256; each of 8 layers stores keys and values of 32 floats per row."""
    ended = generate(*long_turn("a", recordings), "--max-memory", "1M")
    fails(ended, f"over the limit of {1 << 20}")
    assert int(re.search(r"(\d+) bytes", ended.stderr)[1]) >= 8 * 4 * 256 * 2 * 32 * 4
    assert ended.stdout == ""
    assert answer(*long_turn("a", recordings), "--max-memory", "1G")["token_ids"]


def test_silent_windows_are_skipped_on_request(tmp_path):
    voice = case("a", "speech_short")["in.pcm"]
    write_wav(tmp_path / "gap.wav", np.concatenate([voice, np.zeros(16000 * 120, np.float32), voice]))
    fed = ("--audio", tmp_path / "gap.wav", "--prompt", "Summarize.")
    whole, short = answer(*fed), answer(*fed, "--skip-silence")
    assert short["usage"]["media_tokens"] < whole["usage"]["media_tokens"]


@pytest.mark.parametrize("option, value", [
    ("--extractor", value) for value in (
        "on", "", "blocks=4", "keep=0.7", "blocks=0,keep=0.5", "blocks=4,keep=0", "blocks=4,keep=1.5",
        "blocks=4,keep=nan", "blocks=4,keep=0.7,", "blocks=4,blocks=4,keep=0.7", "4,0.7", "blocks=x,keep=0.7",
        "gap=0,keep=0.7", "gap=2", "gap=2,blocks=4,keep=0.7")] + [
    ("--kv-type", "f8"), ("--max-memory", "0"), ("--max-memory", "-1"), ("--max-memory", "9999999999G"),
    ("--max-memory", "lots")])
def test_wrong_usage_is_64(option, value):
    is_wrong_usage(generate("--prompt", "x", f"{option}={value}"), option)


@pytest.mark.parametrize("value, reason", [
    ("4,0.7", "blocks=4,keep=0.7"), ("blocks=4,keep=2", "keep"), ("blocks=4", "blocks=4,keep=0.7")])
def test_an_invalid_extractor_is_refused_with_a_reason(value, reason):
    ended = generate("--prompt", "x", f"--extractor={value}")
    is_wrong_usage(ended, "--extractor")
    assert reason in ended.stderr.splitlines()[0].split(":", 2)[-1]
