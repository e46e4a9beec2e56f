"""Operations on samples that the voices and the acoustics share. All use FFTs of smooth sizes."""

import functools

import numpy as np


@functools.cache
def smooth_sizes() -> np.ndarray:
    """Even numbers up to 4 million without prime factors above 7, sorted: sizes of fast FFTs."""
    sizes = [2]
    for prime in (2, 3, 5, 7):
        for size in list(sizes):
            while size * prime <= 1 << 22:
                size *= prime
                sizes.append(size)
    return np.array(sorted(set(sizes)))


def smooth_size(least: int) -> int:
    """The smallest size of a fast FFT that is not below `least`."""
    sizes = smooth_sizes()
    return int(sizes[np.searchsorted(sizes, least)])


# Samples of silence behind the signal, so that its end does not reach its start.
GUARD = 256


def resampled(samples: np.ndarray, ratio: float):
    """A band-limited signal at `ratio` times as many samples.

    → the samples, and the exact ratio, which differs from `ratio` by less than 0.5 % unless it is
    16000/22050 or another ratio of small numbers, which is exact
    """
    source, target = sizes(len(samples) + GUARD, ratio)
    exact = target / source
    spectrum = np.fft.rfft(samples, source)
    kept = np.zeros(target // 2 + 1, np.complex128)
    count = min(len(spectrum), len(kept))
    kept[:count] = spectrum[:count]
    made = np.fft.irfft(kept, target) * exact
    return made[:max(1, round(len(samples) * exact))].astype(np.float32), exact


def sizes(least: int, ratio: float):
    """FFT sizes of a signal before and after resampling."""
    for up, down in ((320, 441), (1, 2), (2, 1), (1, 1)):
        if abs(ratio - up / down) < 1e-9:
            unit = smooth_size(-(-least // (2 * down)))
            return unit * 2 * down, unit * 2 * up
    source = smooth_size(least)
    choices = smooth_sizes()
    place = np.searchsorted(choices, source * ratio)
    near = choices[max(0, place - 1):place + 1]
    return source, int(near[np.argmin(np.abs(near - source * ratio))])


def filtered(samples: np.ndarray, kernel_spectrum, size: int, length: int) -> np.ndarray:
    """The circular convolution with a kernel of which the spectrum is given, cut to a length."""
    return np.fft.irfft(np.fft.rfft(samples, size) * kernel_spectrum, size)[:length]


def rms(samples: np.ndarray) -> float:
    return float(np.sqrt(np.mean(np.square(samples, dtype=np.float64)))) if len(samples) else 0.0


def speech_level(samples: np.ndarray) -> float:
    """The RMS of the speech alone: of the 10 ms frames within 30 dB of the loudest frame."""
    count = len(samples) // 160
    if count == 0:
        return rms(samples)
    power = np.mean(np.square(samples[:count * 160].reshape(count, 160), dtype=np.float64), axis=1)
    return float(np.sqrt(power[power >= power.max() * 1e-3].mean()))
