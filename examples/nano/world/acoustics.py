"""What lies between a speaker and the recording: the speaker's manner, a room, noise, a microphone.

    heard = recorded(utterance, random_acoustics(rng), rng)

`Acoustics` says what happens; `recorded` makes it happen. Labels stay in step with the samples.
"""

import dataclasses
import random
from dataclasses import dataclass

import numpy as np

from . import noises, prosody
from .signals import filtered, resampled, smooth_size, speech_level
from .utterance import RATE, Utterance, filled

# A loud recording peaks at 1; the RMS of its speech is about this.
USUAL_LEVEL = 0.08
# Every recording has a little noise of its microphone: dB of speech over it.
FLOOR = (40, 60)


@dataclass(frozen=True)
class Acoustics:
    """What happens to an utterance. The default is nothing: a clean recording.

    pitch: times which pitch, formants and tempo are multiplied, as by a tape's speed
    tract: times which the formants alone are multiplied (a shorter vocal tract is above 1)
    voice: times which the pitch alone is multiplied (a woman's is nearly twice a man's)
    tempo: from slowest to fastest, how many times faster it becomes; a random walk between them
    reverberation: seconds until the room's echo has fallen by 60 dB; 0 is no room
    distance: of direct sound over echo, in dB
    noise: the kind, "" for none
    snr: the speech's level over the noise's, in dB
    telephone: 300 to 3400 Hz, 8 kHz, mu-law
    microphone: dB by which a random smooth filter colours the sound
    gain: of the recording in dB, over the usual level
    lead, tail: silence before and after, in seconds
    clip: how many dB of the peaks are cut off
    """

    pitch: float = 1.0
    tract: float = 1.0
    voice: float = 1.0
    tempo: tuple = (1.0, 1.0)
    reverberation: float = 0.0
    distance: float = 10.0
    noise: str = ""
    snr: float = 100.0
    telephone: bool = False
    microphone: float = 0.0
    gain: float = 0.0
    lead: float = 0.0
    tail: float = 0.0
    clip: float = 0.0


# What training hears: how often, from, to, and what it is (for WORLD.md).
CHANGES = {
    "pitch": (0.6, 0.88, 1.15, "pitch, formants and tempo together are multiplied by"),
    "tract": (0.5, 0.87, 1.16, "formants alone are multiplied by"),
    "voice": (0.35, 0.85, 1.9, "pitch alone is multiplied by"),
    "tempo": (0.4, 0.6, 1.45, "tempo alone is multiplied by a number that changes twice a second"),
    "reverberation": (0.4, 0.1, 0.7, "seconds of a room's echo until it has fallen by 60 dB"),
    "snr": (0.6, 5.0, 30.0, "dB of speech over noise"),
    "telephone": (0.15, 1, 1, "300 to 3400 Hz, 8 kHz, mu-law"),
    "clip": (0.1, 1.0, 9.0, "dB by which peaks are cut off"),
    "microphone": (0.75, 3, 9, "dB by which a random smooth filter raises or lowers frequencies"),
    "gain": (1, -14.0, 6.0, "dB over the usual level"),
    "lead": (1, 0.0, 0.4, "seconds of silence before"),
    "tail": (1, 0.05, 0.4, "seconds of silence after"),
}
# A voice whose pitch is raised by more than this becomes that of a smaller speaker: its formants are multiplied, too.
HIGH_VOICE, HIGH_TRACT = 1.3, (1.0, 1.25)
TEMPO_MIDDLE, TEMPO_SPREAD, DISTANCE = (0.85, 1.2), 0.25, (0.0, 15.0)


def random_acoustics(rng: random.Random) -> Acoustics:
    """What training hears: any of the changes, each with its own chance."""
    drawn = {}
    for name, (chance, low, high, _) in CHANGES.items():
        if rng.random() < chance:
            drawn[name] = rng.uniform(low, high)
    if drawn.get("voice", 1) > HIGH_VOICE:
        drawn["tract"] = rng.uniform(*HIGH_TRACT)
    if "tempo" in drawn:
        middle, spread = rng.uniform(*TEMPO_MIDDLE), rng.uniform(0, TEMPO_SPREAD)
        drawn["tempo"] = (middle - spread, middle + spread)
    if "telephone" in drawn:
        drawn["telephone"] = True
    if "snr" in drawn:
        drawn["noise"] = rng.choice(noises.TRAINED)
    return Acoustics(distance=rng.uniform(*DISTANCE), **drawn)


def clean(rng: random.Random) -> Acoustics:
    """A quiet room and a good microphone, for evaluation."""
    return Acoustics(
        gain=rng.uniform(-6, 3), lead=rng.uniform(0.1, 0.3), tail=rng.uniform(0.1, 0.3))


def noisy(rng: random.Random, snr: float, kinds=noises.HELD_OUT) -> Acoustics:
    """A quiet room with noise of one kind, for evaluation."""
    return dataclasses.replace(clean(rng), noise=rng.choice(kinds), snr=snr)


def spoken_differently(utterance: Utterance, plan: Acoustics, generator) -> Utterance:
    """The same words from another speaker: pitch, vocal tract and tempo."""
    if plan.voice != 1:
        utterance = prosody.with_pitch(utterance, plan.voice)
    if plan.pitch != 1:
        utterance = prosody.faster(utterance, plan.pitch)
    if plan.tract != 1:
        utterance = prosody.with_tract(utterance, plan.tract)
    if plan.tempo != (1.0, 1.0):
        rates = generator.uniform(*plan.tempo, 2 + int(utterance.duration / 0.5))
        utterance = prosody.with_tempo(utterance, rates)
    return utterance


def surroundings(plan: Acoustics) -> Acoustics:
    """The plan without what changes the speaker: pitch, vocal tract and tempo."""
    return dataclasses.replace(plan, pitch=1.0, tract=1.0, voice=1.0, tempo=(1.0, 1.0))


def joined(utterances, gaps) -> Utterance:
    """Utterances one after the other, each at the usual level.

    gaps: seconds of silence after each
    """
    samples, phones, words, time = [], [], [], 0.0
    for utterance, gap in zip(utterances, gaps):
        silence = np.zeros(round(gap * RATE), np.float32)
        level = USUAL_LEVEL / (speech_level(utterance.samples) + 1e-9)
        samples += [utterance.samples * np.float32(level), silence]
        phones += [(phone, a + time, b + time) for phone, a, b in utterance.phones]
        words += [(word, a + time, b + time) for word, a, b in utterance.words]
        time += utterance.duration + len(silence) / RATE
    whole = np.concatenate(samples)
    return Utterance(whole, filled(phones, len(whole) / RATE), tuple(words))


def padded(utterance: Utterance, lead: float, tail: float) -> Utterance:
    before, after = round(lead * RATE), round(tail * RATE)
    return utterance.moved(
        np.pad(utterance.samples, (before, after)), lambda time: time + before / RATE)


def room(generator, seconds: float, distance: float) -> np.ndarray:
    """A room's response to a click: the direct sound, early echoes and noise that dies away.

    distance: dB of direct sound over all echoes
    """
    length = max(int(seconds * RATE), 400)
    time = np.arange(length) / RATE
    # 60 dB in `seconds`: exp(-6.9 t / seconds).
    tail = generator.standard_normal(length) * np.exp(-6.9 * time / seconds)
    tail[:int(generator.uniform(0.002, 0.02) * RATE)] = 0
    # Air and walls take high frequencies first.
    tail = np.convolve(tail, [0.25, 0.5, 0.25])[:length]
    early = generator.integers(16, min(length, 640), 6)
    tail[early] += generator.uniform(-1, 1, 6) * np.abs(tail).max()
    tail *= 10 ** (-distance / 20) / (np.sqrt(np.sum(np.square(tail))) + 1e-9)
    tail[0] = 1
    return tail


def microphone_curve(generator, size: int, depth: float) -> np.ndarray:
    """A smooth random gain for each frequency of an FFT: six points from 60 Hz to 8 kHz, in dB."""
    frequency = np.fft.rfftfreq(size, 1 / RATE)
    points = np.linspace(np.log(60), np.log(8000), 6)
    levels = generator.uniform(-depth, depth, 6)
    gain = np.interp(np.log(np.maximum(frequency, 30)), points, levels)
    curve = 10 ** (gain / 20)
    # Small microphones hear no deep sounds.
    return curve / np.sqrt(1 + (generator.uniform(20, 200) / np.maximum(frequency, 1)) ** 4)


def over_telephone(samples: np.ndarray) -> np.ndarray:
    """300 to 3400 Hz at 8 kHz with mu-law's 8 bits, back at 16 kHz."""
    narrow, ratio = resampled(samples, 0.5)
    size = smooth_size(len(narrow))
    frequency = np.fft.rfftfreq(size, 1 / (RATE * ratio))
    band = 1 / np.sqrt(1 + (300 / np.maximum(frequency, 1)) ** 8)
    band /= np.sqrt(1 + (frequency / 3400) ** 40)
    narrow = filtered(narrow, band, size, len(narrow))
    peak = np.abs(narrow).max() + 1e-9
    # G.711's law with its 255, as a curve: compressed, rounded to 8 bits, expanded.
    compressed = np.sign(narrow) * np.log1p(255 * np.abs(narrow) / peak) / np.log(256)
    rounded = np.rint(compressed * 127) / 127
    expanded = np.sign(rounded) * np.expm1(np.abs(rounded) * np.log(256)) / 255 * peak
    wide = resampled(expanded.astype(np.float32), 2)[0]
    return np.pad(wide, (0, max(0, len(samples) - len(wide))))[:len(samples)]


def recorded(utterance: Utterance, plan: Acoustics, rng: random.Random) -> Utterance:
    """The utterance as a microphone records it."""
    generator = np.random.default_rng(rng.getrandbits(64))
    utterance = padded(spoken_differently(utterance, plan, generator), plan.lead, plan.tail)
    samples = utterance.samples.astype(np.float64)
    length = len(samples)
    if plan.reverberation > 0:
        response = room(generator, plan.reverberation, plan.distance)
        size = smooth_size(length + len(response))
        samples = filtered(samples, np.fft.rfft(response, size), size, length)
    level = speech_level(samples) + 1e-9
    samples *= USUAL_LEVEL / level
    floor = USUAL_LEVEL * 10 ** (-generator.uniform(*FLOOR) / 20)
    samples += floor * generator.standard_normal(length)
    if plan.noise:
        sound = noises.ALL[plan.noise](generator, length)
        sound *= USUAL_LEVEL * 10 ** (-plan.snr / 20) / (np.sqrt(np.mean(np.square(sound))) + 1e-9)
        samples += sound
    if plan.microphone > 0:
        size = smooth_size(length + RATE // 10)
        curve = microphone_curve(generator, size, plan.microphone)
        samples = filtered(samples, curve, size, length)
    if plan.telephone:
        samples = over_telephone(samples)
    samples = samples * 10 ** (plan.gain / 20)
    peak = np.abs(samples).max() + 1e-9
    if plan.clip > 0:
        limit = peak * 10 ** (-plan.clip / 20)
        samples = np.clip(samples, -limit, limit)
    # A recording that is too loud for 16 bits is turned down.
    samples *= min(1, 0.99 / (np.abs(samples).max() + 1e-9))
    return utterance.moved(samples.astype(np.float32), lambda time: time)
