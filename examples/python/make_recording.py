#!/usr/bin/env python3
"""Writes a WAV file that sounds a little like speech: buzzing vowels at the pace of syllables, without words.

usage: make_recording.py OUT.wav [SECONDS]

Each vowel is a 120 Hz pulse train through three resonances, the first formants of the vowel (Peterson and Barney 1952).
"""

import array
import math
import random
import sys
import wave

RATE = 16_000
PITCH = 120.0
VOWELS = [(730, 1090, 2440), (270, 2290, 3010), (300, 870, 2240), (530, 1840, 2480), (570, 840, 2410)]
SYLLABLE_SECONDS = 0.22


def resonance(signal: "list[float]", frequency: float, bandwidth: float) -> "list[float]":
    """A two-pole resonator with its gain at `frequency` near 1."""
    radius = math.exp(-math.pi * bandwidth / RATE)
    first, second = 2 * radius * math.cos(2 * math.pi * frequency / RATE), -radius * radius
    gain = (1 - radius) * math.sqrt(1 - 2 * radius * math.cos(4 * math.pi * frequency / RATE) + radius * radius)
    out, before, last = [], 0.0, 0.0
    for sample in signal:
        before, last = last, gain * sample + first * last + second * before
        out.append(last)
    return out


def syllable(vowel: "tuple[int, int, int]", noise: random.Random) -> "list[float]":
    count = int(SYLLABLE_SECONDS * RATE)
    period = int(RATE / PITCH)
    pulses = [(1.0 if i % period == 0 else 0.0) + noise.uniform(-0.01, 0.01) for i in range(count)]
    voices = [resonance(pulses, formant, 80 + 0.02 * formant) for formant in vowel]
    return [math.sin(math.pi * i / count) * sum(voice[i] for voice in voices) for i in range(count)]


def main() -> int:
    if len(sys.argv) not in (2, 3):
        print("usage: make_recording.py OUT.wav [SECONDS]", file=sys.stderr)
        return 64
    seconds = float(sys.argv[2]) if len(sys.argv) == 3 else 1.5
    noise = random.Random(1)
    samples: "list[float]" = []
    while len(samples) < seconds * RATE:
        samples += syllable(VOWELS[len(samples) // int(SYLLABLE_SECONDS * RATE) % len(VOWELS)], noise)
    samples = samples[: int(seconds * RATE)]
    loudest = max(map(abs, samples), default=0) or 1
    pcm = array.array("h", (round(0.5 * 32767 * sample / loudest) for sample in samples))
    if sys.byteorder == "big":
        pcm.byteswap()
    with wave.open(sys.argv[1], "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(RATE)
        out.writeframes(pcm.tobytes())
    return 0


if __name__ == "__main__":
    sys.exit(main())
