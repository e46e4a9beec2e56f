"""A recognizer that nobody here trained, PocketSphinx, with the world's words.

It says how intelligible a recording is. It knows which words of the world often follow each other
(bigrams of what training hears), but any word may follow any other.
"""

import collections
import functools
import math
import random
import shutil
import subprocess
import tempfile
from pathlib import Path

import numpy as np

from . import examples, words
from .text import spoken
from .utterance import RATE, SpeechError
from .wav import write_wav

MODEL = Path("/usr/share/pocketsphinx/model/en-us")
# Words that the dictionary of PocketSphinx has not, in its phones.
MORE = {
    "baa": "B AA", "neigh": "N EY", "moo": "M UW", "o'clock": "AH K L AA K", "woof": "W UH F",
    "nano": "N AA N OW", "meow": "M IY AW", "quack": "K W AE K", "croak": "K R OW K",
}


def is_installed() -> bool:
    return shutil.which("pocketsphinx_batch") is not None and MODEL.is_dir()


@functools.cache
def dictionary() -> str:
    """The lines of the dictionary for the world's words."""
    wanted = set(words.vocabulary())
    lines = []
    for line in (MODEL / "cmudict-en-us.dict").read_text(encoding="utf-8").splitlines():
        if line.split("(")[0].split(" ")[0] in wanted:
            lines.append(line)
    found = {line.split("(")[0].split(" ")[0] for line in lines}
    for word in sorted(wanted - found):
        if word not in MORE:
            raise SpeechError(f"PocketSphinx does not know the word {word!r}; add it to MORE")
        lines.append(f"{word} {MORE[word]}")
    return "\n".join(sorted(lines)) + "\n"


# Texts that bigrams are counted in, and what is taken from each count for unseen ones.
TEXTS, DISCOUNT = 20000, 0.5


@functools.cache
def language_model() -> str:
    """Bigrams of the world's texts with back-off (absolute discounting), in ARPA's format."""
    rng = random.Random(0)
    ones = collections.Counter({word: 1 for word in (*words.vocabulary(), "</s>")})
    pairs = collections.defaultdict(collections.Counter)
    for _ in range(TEXTS):
        said = ["<s>", *spoken(examples.heard(rng)).split(), "</s>"]
        ones.update(said[1:])
        for before, word in zip(said, said[1:]):
            pairs[before][word] += 1
    total = sum(ones.values())
    lines = ["\\data\\", f"ngram 1={len(ones) + 1}",
             f"ngram 2={sum(map(len, pairs.values()))}", "", "\\1-grams:"]
    backed = {
        before: DISCOUNT * len(following) / following.total()
        for before, following in pairs.items()}
    for word in ("<s>", *sorted(ones)):
        chance = ones[word] / total if word in ones else 1e-9
        lines.append(f"{math.log10(chance):.4f} {word} {math.log10(backed.get(word, 1)):.4f}")
    lines += ["", "\\2-grams:"]
    for before in sorted(pairs):
        following = pairs[before]
        for word in sorted(following):
            chance = (following[word] - DISCOUNT) / following.total()
            chance += backed[before] * ones[word] / total
            lines.append(f"{math.log10(chance):.4f} {before} {word}")
    return "\n".join(lines) + "\n\n\\end\\\n"


# PocketSphinx cannot hear speech between samples that are all zero: it gets noise at -60 dB and a
# quarter of a second before and after.
NOISE, MARGIN = 1e-3, RATE // 4


def hear(recordings) -> list:
    """The words of recordings (samples at 16 kHz), as PocketSphinx hears them."""
    generator = np.random.default_rng(0)
    if not is_installed():
        raise SpeechError(
            "PocketSphinx is not installed; install Debian's pocketsphinx and pocketsphinx-en-us")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "words.dict").write_text(dictionary())
        (folder / "words.arpa").write_text(language_model())
        for index, samples in enumerate(recordings):
            padded = np.pad(np.asarray(samples, np.float64), MARGIN)
            write_wav(
                folder / f"{index}.wav", padded + NOISE * generator.standard_normal(len(padded)))
        (folder / "list").write_text("".join(f"{index}\n" for index in range(len(recordings))))
        ended = subprocess.run(
            ["pocketsphinx_batch", "-hmm", MODEL / "en-us", "-dict", folder / "words.dict",
             "-lm", folder / "words.arpa", "-adcin", "yes", "-adchdr", "44", "-cepdir", folder,
             "-cepext", ".wav", "-ctl", folder / "list", "-hyp", folder / "heard"],
            capture_output=True, encoding="utf-8", errors="replace")
        if ended.returncode != 0:
            raise SpeechError(f"pocketsphinx_batch failed: {ended.stderr[-500:]}")
        # A line is the words and "(file score)".
        lines = (folder / "heard").read_text().splitlines()
    return [line.rsplit("(", 1)[0].strip() for line in lines]


def errors(heard: str, said: str) -> int:
    """The fewest words to change, add or remove in what was heard."""
    row = list(range(len(said.split()) + 1))
    for i, word in enumerate(heard.split(), 1):
        before, row[0] = row[0], i
        for j, right in enumerate(said.split(), 1):
            before, row[j] = row[j], min(
                row[j] + 1, row[j - 1] + 1, before + (word != right))
    return row[-1]


def word_error_rate(heard, said) -> float:
    """The errors of all texts over their words."""
    return sum(map(errors, heard, said)) / max(1, sum(len(text.split()) for text in said))
