"""Items of Nano's own voice: what the vocoder says, recorded in rooms, to write down.

The recordings are those of `lyra data units decode`.
"""

import json
from pathlib import Path

import numpy as np

from . import acoustics, examples, speech_sets, words
from .text import spoken
from .utterance import SpeechError, Utterance
from .wav import read_wav

# Of all items, those that are heard as they are.
UNCHANGED = 0.3


def item(seed, index, text: str, samples, folder: Path) -> dict | None:
    """A recording and its text; None if it does not fit a window."""
    rng = examples.rng_of(seed, "said", index)
    if rng.random() >= UNCHANGED:
        plan = acoustics.surroundings(acoustics.random_acoustics(rng))
        samples = acoustics.recorded(Utterance(samples, (), ()), plan, rng).samples
    if len(samples) > speech_sets.WINDOW_SAMPLES:
        return None
    name = f"{index // 1000:03d}/said-{index}"
    return {
        "id": f"said-{seed}-{index}",
        "conversations": examples.turns((f"<speech>\n{rng.choice(words.TRANSCRIBE)}", text)),
        "speech": speech_sets.save(folder, name, samples), "speech_asr": spoken(text), "kind": "transcribe",
        "voice": "vocoder"}


def items(manifest: Path, count: int, seed: int, folder: Path):
    """Items of the first recordings of a manifest; several of each, if there are fewer than `count`."""
    lines = [json.loads(line) for line in manifest.read_text().splitlines()]
    if not lines:
        raise SpeechError(f"{manifest}: there is no recording")
    for index in range(count):
        line = lines[index % len(lines)]
        samples, rate = read_wav(manifest.parent / line["audio"])
        if rate != speech_sets.RATE:
            raise SpeechError(f"{line['audio']}: {rate} samples a second; expected {speech_sets.RATE}")
        made = item(seed, index, line["text"], np.asarray(samples), folder)
        if made:
            yield made
