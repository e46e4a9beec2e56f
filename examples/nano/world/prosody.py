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
    """Another vocal tract: formants times `ratio`, the pitch unchanged.

    The envelope of each frame's spectrum, from its low cepstral coefficients, is moved.
    """
    samples = utterance.samples
    count = -(-(len(samples) + WINDOW) // STEP)
    padded = np.pad(samples, (WINDOW - STEP, count * STEP + WINDOW - len(samples)))
    window = np.hanning(WINDOW + 1)[:-1].astype(np.float32)
    frames = np.lib.stride_tricks.sliding_window_view(padded, WINDOW)[::STEP][:count] * window
    spectrum = np.fft.rfft(frames, axis=1)
    logs = np.log(np.abs(spectrum) + 1e-5)
    cepstrum = np.fft.irfft(logs, axis=1)
    cepstrum[:, CEPSTRUM:WINDOW - CEPSTRUM + 1] = 0
    envelope = np.fft.rfft(cepstrum, axis=1).real
    bins = np.minimum(np.arange(WINDOW // 2 + 1) / ratio, WINDOW // 2)
    low = np.minimum(bins.astype(int), WINDOW // 2 - 1)
    part = (bins - low).astype(np.float32)
    moved = envelope[:, low] * (1 - part) + envelope[:, low + 1] * part
    spectrum *= np.exp(np.clip(moved - envelope, -LARGEST_GAIN, LARGEST_GAIN))
    frames = np.fft.irfft(spectrum, axis=1) * window
    result = np.zeros((count + WINDOW // STEP) * STEP)
    # Frames that do not overlap are added at once.
    each = WINDOW // STEP
    for offset in range(each):
        part_of = frames[offset::each]
        stop = offset * STEP + len(part_of) * WINDOW
        if stop > len(result):
            result = np.pad(result, (0, stop - len(result)))
        result[offset * STEP:stop] += part_of.ravel()
    # Four Hann windows squared add to 1.5.
    result = result[WINDOW - STEP:WINDOW - STEP + len(samples)] / 1.5
    return utterance.moved(result, lambda time: time)
