"""Reads and writes WAV files with 16-bit samples and one channel."""

import wave

import numpy as np

from .utterance import RATE


def read_wav(path):
    """→ samples float32 within -1 to 1, and samples a second"""
    with wave.open(str(path), "rb") as file:
        if file.getsampwidth() != 2 or file.getnchannels() != 1:
            raise ValueError(f"{path}: only 16-bit samples of one channel can be read")
        data = np.frombuffer(file.readframes(file.getnframes()), "<i2")
        return data.astype(np.float32) / 32768, file.getframerate()


def write_wav(path, samples):
    """Writes samples at 16 kHz. Those beyond -1 to 1 are clipped."""
    data = np.clip(np.rint(np.asarray(samples) * 32767), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(data.tobytes())
