"""Items of the vocoder's voice, in which Nano answers: recordings to write down, as they are or in rooms.

The recordings and their manifest are those of `lyra data units decode`.
"""

import json
from pathlib import Path

from . import acoustics, examples, speech_sets, words
from .text import spoken
from .utterance import SpeechError, Utterance
from .wav import read_wav

# Share of items without room, noise or microphone.
UNCHANGED = 0.3


def item(seed, index, text: str, samples, folder: Path) -> dict | None:
    """A recording and its text; None if it does not fit a window."""
    rng = examples.rng_of(seed, "vocoded", index)
    if rng.random() >= UNCHANGED:
        plan = acoustics.surroundings(acoustics.random_acoustics(rng))
        samples = acoustics.recorded(Utterance(samples, (), ()), plan, rng).samples
    if len(samples) > speech_sets.WINDOW_SAMPLES:
        return None
    name = f"{index // 1000:03d}/vocoded-{index}"
    return {
        "id": f"vocoded-{seed}-{index}",
        "conversations": examples.turns((f"<speech>\n{rng.choice(words.TRANSCRIBE)}", text)),
        "speech": speech_sets.save(folder, name, samples), "speech_asr": spoken(text), "kind": "transcribe",
        "voice": "vocoder"}


def recordings(manifest: Path) -> list:
    """→ (file, text) of each line"""
    found = []
    for number, line in enumerate(manifest.read_text().splitlines(), 1):
        try:
            entry = json.loads(line)
            found.append((manifest.parent / entry["audio"], entry["text"]))
        except (ValueError, KeyError, TypeError) as error:
            raise SpeechError(f'{manifest}, line {number}: not {{"audio": path, "text": text}}') from error
    return found


def items(manifest: Path, count: int, seed: int, folder: Path):
    """Items of the first recordings of a manifest; several of each, if there are fewer than `count`."""
    found, made = recordings(manifest), 0
    for index in range(count if found else 0):
        path, text = found[index % len(found)]
        samples, rate = read_wav(path)
        if rate != speech_sets.RATE:
            raise SpeechError(f"{path}: {rate} samples a second; expected {speech_sets.RATE}")
        if result := item(seed, index, text, samples, folder):
            made += 1
            yield result
    if not made:
        raise SpeechError(f"{manifest}: there is no recording that fits a window")
