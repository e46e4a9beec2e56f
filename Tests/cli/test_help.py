"""The help lists exactly the commands and options that scripts can rely on."""

import re

import pytest

from support import lyra

ANSWERING = ["--system", "--max-tokens", "--adapter", "--extractor", "--kv-type", "--max-memory", "--skip-silence",
    "--special-tokens"]
PICTURES = ["--max-frames", "--max-pixels", "--with-audio"]
SAMPLING = ["--temperature", "--top-p", "--top-k", "--min-p", "--repetition-penalty", "--seed"]
PARTS = ["--towers", "--vocoder", "--sound-projector", "--adapter-dir"]
MODEL = ["--model", *PARTS, "--precision", "--threads"]
SCORING = ["--normalize", "--resamples", "--seed"]
DATA = ["--output", "--max-bad"]
CORPUS = [*DATA, "--root", "--spellings", "--max-seconds", "--check", "--seed"]
FRAMES = ["--tower", "--layer", "--log-mels", "--mels", "--stored-features", "--key", "--root", "--threads"]
OPTIONS = {
    "generate": [
        *MODEL, *ANSWERING, *PICTURES, *SAMPLING, "--image", "--video", "--audio", "--sound", "--prompt", "--speak",
        "--json"],
    "chat": [*MODEL, *ANSWERING, *PICTURES, *SAMPLING],
    "inspect": [*PARTS, "--json"],
    "assemble": [
        "--llm", "--speech-tower", "--vision-tower", "--sound-tower", "--vocoder", "--speech-projector",
        "--sound-projector", "--speech-norm", "--adapter", "--seed", "--copy", "--output"],
    "initialize": ["--output", "--seed"],
    "merge-lora": [*PARTS, "--adapter", "--output", "--type", "--shard-size", "--copy", "--threads"],
    "convert": [*PARTS, "--output", "--type", "--part", "--threads"],
    "features": ["--as", "--out", "--max-frames"],
    "logits": [*MODEL, "--tokens", "--adapter", "--out"],
    "make-tiny": ["--seed", "--preset", "--layers"],
    "train": [
        "--recipe", "--stage", "--model", "--towers", "--speech-projector", "--sound-projector", "--heads",
        "--data", "--validation", "--out", "--train",
        "--adapter", "--extractor", "--epochs", "--steps", "--learning-rate", "--batch", "--accumulation", "--seed",
        "--save-every", "--precision", "--threads", "--print-recipe", "--resume", "--mpi", "--dry-run-gradients"],
    "bench": [],
    "bench parts": [
        "--preset", "--dtype", "--threads", "--repetitions", "--prompt-tokens", "--decode-tokens", "--decode-after",
        "--sessions", "--precision", "--only", "--video", "--json"],
    "bench extractor": [
        "--preset", "--lengths", "--keep", "--blocks", "--dtype", "--kv-type", "--threads", "--repetitions", "--json",
        "--plot"],
    "bench train": [
        "--preset", "--weights", "--rank", "--dtype", "--precision", "--tokens", "--samples", "--media", "--extractor",
        "--recompute", "--threads", "--repetitions", "--json"],
    "bench processes": ["--megabytes", "--repetitions", "--mpi", "--json"],
    "plot-log": ["--output", "--name", "--title", "--smoothing", "--log-scale", "--over"],
    "eval": [],
    "eval wer": [*MODEL, *ANSWERING, "--manifest", "--prompt", "--limit", "--normalizer", "--spellings", "--json"],
    "eval needle": [
        *MODEL, *ANSWERING, "--haystack", "--needle", "--question", "--answer", "--lengths", "--depths", "--json",
        "--picture"],
    "eval qa": [
        *MODEL, *ANSWERING, *PICTURES, "--data", "--image-folder", "--speech-folder", "--question", "--prompt",
        "--limit", "--image-side", "--speech-seconds", *SCORING, "--out", "--resume", "--json"],
    "eval score-qa": [*SCORING, "--json"],
    "eval score": ["--normalizer", "--spellings", "--json"],
    "data": [],
    "data librispeech": [*CORPUS, "--text", "--words"],
    "data commonvoice": [*CORPUS, "--split", "--text", "--words"],
    "data long-speech": [
        *DATA, "--root", "--transcripts", "--passage", "--questions", "--kinds", "--check", "--seed", "--server",
        "--server-model", "--key-variable", "--answers", "--parallel", "--rate", "--timeout", "--retries",
        "--retry-delay"],
    "data units": [],
    "data units train": [*DATA, *FRAMES, "--data", "--units", "--frames", "--iterations", "--seed"],
    "data units encode": [*DATA, *FRAMES, "--codebook", "--data", "--keep-runs"],
}


def help_of(*command):
    ended = lyra(*command, "--help")
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout


def test_every_command_is_listed():
    for *parents, command in map(str.split, OPTIONS):
        assert re.search(rf"^  {command} ", help_of(*parents), re.M)


@pytest.mark.parametrize("command", OPTIONS)
def test_every_option_is_explained_and_no_other(command):
    listed = re.findall(r"^  (?:-\w, )?(--[\w-]+)", help_of(*command.split()), re.M)
    assert sorted(listed) == sorted(OPTIONS[command] + ["--version", "--help"])


def test_presets_are_named():
    for command in (["make-tiny"], ["bench", "parts"], ["bench", "extractor"]):
        assert "tiny, mini, base" in " ".join(help_of(*command).split())


def test_lines_fit_a_terminal():
    for command in ([], *map(str.split, OPTIONS)):
        for line in help_of(*command).splitlines():
            assert len(line) <= 80 or line.startswith("USAGE")


def test_the_version_is_a_number():
    ended = lyra("--version")
    assert ended.returncode == 0 and re.fullmatch(r"\d+\.\d+\.\d+\n", ended.stdout)


def test_defaults_are_stated_once():
    for command in map(str.split, OPTIONS):
        for option in re.split(r"\n  (?=-)", help_of(*command)):
            assert option.count("default:") <= 1, option


def test_the_accepted_lengths_and_threads_are_those_in_the_help():
    assert "128…16777216 tokens, or 7…24 for powers of 2" in " ".join(help_of("bench", "extractor").split())
    for command in ("generate", "convert", "bench parts", "bench extractor"):
        assert "256 at most" in " ".join(help_of(*command.split()).split())


def test_every_picture_format_is_listed():
    assert "JPEG, PNG, WebP, GIF, BMP or TIFF" in " ".join(help_of("generate").split())
