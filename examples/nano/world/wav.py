"""Reads WAV files of one channel, and writes them with 16-bit samples."""

import struct
import wave

import numpy as np

from .utterance import RATE

# What a WAV file's format and bits stand for, and the number that is 1.
KINDS = {(1, 16): ("<i2", 32768), (3, 32): ("<f4", 1)}


def read_wav(path):
    """→ samples float32 within -1 to 1, and samples a second"""
    with open(path, "rb") as file:
        data = file.read()
    # Chunks: a name of four letters, a length, and as many bytes, rounded up to an even number.
    chunks, place = {}, 12
    while place + 8 <= len(data):
        size = struct.unpack_from("<I", data, place + 4)[0]
        chunks[data[place:place + 4]] = data[place + 8:place + 8 + size]
        place += 8 + size + size % 2
    if b"fmt " not in chunks or b"data" not in chunks:
        raise ValueError(f"{path}: not a WAV file")
    form, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if channels != 1 or (form, bits) not in KINDS:
        raise ValueError(f"{path}: only samples of 16 bits or floats of one channel can be read")
    kind, one = KINDS[form, bits]
    samples = chunks[b"data"]
    return np.frombuffer(samples[:len(samples) // (bits // 8) * (bits // 8)], kind).astype(np.float32) / one, rate


def write_wav(path, samples):
    """Writes samples at 16 kHz. Those beyond -1 to 1 are clipped."""
    data = np.clip(np.rint(np.asarray(samples) * 32767), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(data.tobytes())
