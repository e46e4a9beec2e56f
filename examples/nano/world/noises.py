"""Background noise. Each function makes `count` samples at 16 kHz of any level.

`TRAINED` are heard in training, `HELD_OUT` only in evaluation (heldout/noise.json names them).
"""

import functools
import json
import random
from pathlib import Path

import numpy as np

from . import voices
from .signals import smooth_size
from .utterance import RATE

HELD_OUT_FILE = Path(__file__).resolve().parents[1] / "heldout" / "noise.json"
BABBLE_TEXTS = (
    "The number is twenty one and the letter is B.", "Which day comes after Monday?",
    "Anna has a red ball in the kitchen.", "Turn off the light in the hall, please.",
    "One, two, three, four, five, six, seven.", "It is ten o'clock in the morning.")
BABBLE_VOICES = 16


def coloured(generator, count: int, slope: float) -> np.ndarray:
    """Noise of which the power falls with frequency: f to the power of -2 × slope."""
    size = smooth_size(count)
    spectrum = np.fft.rfft(generator.standard_normal(size))
    frequency = np.fft.rfftfreq(size, 1 / RATE)
    return np.fft.irfft(spectrum / np.maximum(frequency, 30) ** slope, size)[:count]


def white(generator, count):
    """Noise with the same power at all frequencies."""
    return generator.standard_normal(count)


def pink(generator, count):
    """Noise of which the power halves with each octave."""
    return coloured(generator, count, 0.5)


def hum(generator, count):
    """Mains: 50 or 60 Hz with harmonics, and a little hiss."""
    base = generator.choice([50.0, 60.0])
    time = np.arange(count) / RATE
    result = 0.05 * generator.standard_normal(count)
    for harmonic in range(1, 9):
        level = generator.uniform(0.2, 1) / harmonic
        result += level * np.sin(2 * np.pi * (base * harmonic * time + generator.random()))
    return result


def fan(generator, count):
    """Air: noise of a random colour with a resonance."""
    size = smooth_size(count)
    frequency = np.fft.rfftfreq(size, 1 / RATE)
    centre, width = generator.uniform(150, 1500), generator.uniform(80, 500)
    shape = np.maximum(frequency, 40) ** -generator.uniform(0.4, 0.9)
    shape *= 1 + 3 * np.exp(-((frequency - centre) / width) ** 2)
    return np.fft.irfft(np.fft.rfft(generator.standard_normal(size)) * shape, size)[:count]


def clicks(generator, count):
    """An office: keys and pens, over a little air."""
    result = 0.1 * pink(generator, count)
    result /= np.abs(result).max() * 10 + 1e-9
    for _ in range(generator.poisson(6 * count / RATE) + 1):
        length = int(generator.integers(80, 800))
        start = int(generator.integers(0, max(1, count - length)))
        decay = np.exp(-np.arange(length) / (length / 6))
        burst = generator.standard_normal(length) * decay * generator.uniform(0.2, 1)
        tone = np.sin(2 * np.pi * generator.uniform(800, 5000) / RATE * np.arange(length))
        burst = burst * (0.5 + 0.5 * tone)
        result[start:start + length] += burst[:count - start]
    return result


@functools.cache
def babble_bank() -> tuple:
    """Recordings of training voices that babble is mixed from: the same in every process."""
    rng = random.Random(0)
    found = []
    while len(found) < BABBLE_VOICES:
        text, voice = rng.choice(BABBLE_TEXTS), voices.choose(rng)
        samples = voices.say(text, voice, len(found)).samples
        found.append(samples / (np.sqrt(np.mean(np.square(samples))) + 1e-9))
    return tuple(found)


def babble(generator, count):
    """Three to seven people who speak at once."""
    bank = babble_bank()
    result = np.zeros(count)
    for _ in range(generator.integers(3, 8)):
        level, place = generator.uniform(0.4, 1), 0
        chosen = bank[generator.integers(len(bank))]
        start = generator.integers(len(chosen))
        while place < count:
            piece = chosen[start:start + count - place]
            result[place:place + len(piece)] += level * piece
            place += len(piece)
            chosen, start = bank[generator.integers(len(bank))], 0
    return result


def traffic(generator, count):
    """Cars that pass: deep noise that swells."""
    time = np.arange(count) / RATE
    swell = 1 + 0.8 * np.sin(2 * np.pi * (generator.uniform(0.1, 0.4) * time + generator.random()))
    return coloured(generator, count, 1.0) * swell


def music(generator, count):
    """Chords of plucked tones."""
    result = np.zeros(count)
    length = int(RATE * generator.uniform(0.25, 0.6))
    time = np.arange(length) / RATE
    for start in range(0, count, length):
        base = 220 * 2 ** (generator.integers(0, 12) / 12)
        for interval in (0, generator.choice([3, 4]), 7):
            tone = base * 2 ** (interval / 12)
            wave = sum(np.sin(2 * np.pi * tone * n * time) / n ** 1.5 for n in (1, 2, 3, 4))
            piece = wave * np.exp(-3 * time)
            result[start:start + length] += piece[:count - start]
    return result


ALL = {each.__name__: each for each in (
    white, pink, hum, fan, clicks, babble, traffic, music)}
HELD_OUT = tuple(json.loads(HELD_OUT_FILE.read_text())["noise"])
TRAINED = tuple(name for name in ALL if name not in HELD_OUT)
