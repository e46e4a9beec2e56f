"""Other speakers from the same recording: pitch, vocal tract and tempo, each by itself.

Human voices differ from synthetic ones most in these. All functions keep the labels in step.
"""

import numpy as np

from .signals import GUARD, resampled
from .utterance import RATE, Utterance

# 20 ms: half a window of the tempo change. Windows are placed within SEARCH of where they belong.
HOP, SEARCH = 320, 96
# The spectral envelope: window and hop of its frames, and the cepstral coefficients it keeps.
WINDOW, STEP, CEPSTRUM = 512, 128, 48
LARGEST_GAIN = 3.0
HANN = np.hanning(WINDOW + 1)[:-1].astype(np.float32)


def faster(utterance: Utterance, ratio: float) -> Utterance:
    """Played faster: pitch, formants and tempo times `ratio`."""
    samples, exact = resampled(utterance.samples, 1 / ratio)
    return utterance.moved(samples, lambda time: time * exact)


def with_tempo(utterance: Utterance, rates) -> Utterance:
    """Another tempo at the same pitch (WSOLA: windows overlap where they fit best).

    rates: how many times faster it becomes, at times spread evenly over the utterance
    """
    samples = np.pad(utterance.samples, (SEARCH + HOP, 3 * HOP + 2 * SEARCH))
    rates = np.asarray(rates, float)
    length = len(utterance.samples)
    knots = np.linspace(0, length, len(rates))
    # Where each window of the result is taken from.
    places, place = [], 0.0
    while place < length:
        places.append(place)
        place += HOP * np.interp(place, knots, rates)
    count = len(places)
    fade = np.hanning(2 * HOP + 1)[:-1].astype(np.float32)
    result = np.zeros((count + 1) * HOP, np.float32)
    expected = None
    taken = np.empty(count)
    for index, place in enumerate(places):
        start = int(place) + SEARCH
        if expected is not None:
            region = samples[start - SEARCH:start + HOP + SEARCH]
            # Every second sample is enough to find the place.
            fit = np.correlate(region[::2], expected[::2], "valid")
            start += 2 * int(np.argmax(fit)) - SEARCH
        taken[index] = start - SEARCH
        result[index * HOP:(index + 2) * HOP] += samples[start:start + 2 * HOP] * fade
        expected = samples[start + HOP:start + 2 * HOP]
    made = np.arange(count) * (HOP / RATE)
    # A window's middle is a hop behind its start, in the source and in the result.
    known = np.maximum.accumulate(taken) / RATE
    end = (made[-1] + (length / RATE - known[-1]), length / RATE)
    result = result[HOP:HOP + max(1, min(count * HOP, round(end[0] * RATE)))]
    return utterance.moved(
        result, lambda time: np.interp(time, np.append(known, end[1]), np.append(made, end[0])))


def with_tract(utterance: Utterance, ratio: float) -> Utterance:
    """Another vocal tract: formants times `ratio`, the pitch unchanged."""

    def moved(envelopes):
        bins = np.minimum(np.arange(WINDOW // 2 + 1) / ratio, WINDOW // 2)
        low = np.minimum(bins.astype(int), WINDOW // 2 - 1)
        part = (bins - low).astype(np.float32)
        return envelopes[:, low] * (1 - part) + envelopes[:, low + 1] * part

    return utterance.moved(with_envelopes(utterance.samples, moved), lambda time: time)


def with_pitch(utterance: Utterance, ratio: float) -> Utterance:
    """Another pitch: times `ratio`, formants and tempo unchanged."""
    higher = faster(with_tempo(utterance, [1 / ratio, 1 / ratio]), ratio)
    wanted = envelopes_of(np.fft.rfft(frames_of(utterance.samples), axis=1))

    def original(envelopes):
        # A little longer or shorter than the original: frames of the same part of it.
        places = np.arange(len(envelopes)) * len(wanted) // len(envelopes)
        return wanted[places]

    return higher.moved(with_envelopes(higher.samples, original), lambda time: time)


def frames_of(samples) -> np.ndarray:
    """Windowed frames, STEP apart; the first ends STEP samples into the signal."""
    count = -(-(len(samples) + WINDOW) // STEP)
    padded = np.pad(samples, (WINDOW - STEP, count * STEP + WINDOW - len(samples)))
    return np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP][:count] * HANN


def envelopes_of(spectrum) -> np.ndarray:
    """The logarithm of the smooth envelope of each frame's spectrum, from its low cepstral coefficients."""
    cepstrum = np.fft.irfft(np.log(np.abs(spectrum) + 1e-5), axis=1)
    cepstrum[:, CEPSTRUM:WINDOW - CEPSTRUM + 1] = 0
    return np.fft.rfft(cepstrum, axis=1).real


def with_envelopes(samples, change) -> np.ndarray:
    """The signal with other spectral envelopes. change: from the envelopes of all frames to the wanted ones"""
    spectrum = np.fft.rfft(frames_of(samples), axis=1)
    envelopes = envelopes_of(spectrum)
    spectrum *= np.exp(np.clip(change(envelopes) - envelopes, -LARGEST_GAIN, LARGEST_GAIN))
    frames = np.fft.irfft(spectrum, axis=1) * HANN
    result = np.zeros((len(frames) + WINDOW // STEP) * STEP)
    # Frames that do not overlap are added at once.
    each = WINDOW // STEP
    for offset in range(each):
        part_of = frames[offset::each]
        stop = offset * STEP + len(part_of) * WINDOW
        if stop > len(result):
            result = np.pad(result, (0, stop - len(result)))
        result[offset * STEP:stop] += part_of.ravel()
    # Four Hann windows squared add to 1.5.
    return result[WINDOW - STEP:WINDOW - STEP + len(samples)] / 1.5
