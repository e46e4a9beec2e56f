"""Reads WAV files of one channel, and writes them with 16-bit samples."""

import struct
import wave

import numpy as np

from .utterance import RATE, SpeechError

# The kinds that can be read, by format tag and bits: the type of a sample, and full scale.
FORMATS = {(1, 16): ("<i2", 32768), (3, 32): ("<f4", 1)}


def read_wav(path):
    """→ samples float32 within -1 to 1, and samples a second

    Raises SpeechError for what is not such a file.
    """
    with open(path, "rb") as file:
        data = file.read()
    if data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise SpeechError(f"{path}: not a WAV file")
    # Chunks: a name of four letters, a length, and as many bytes, rounded up to an even number.
    chunks, place = {}, 12
    while place + 8 <= len(data):
        size = struct.unpack_from("<I", data, place + 4)[0]
        chunks[data[place:place + 4]] = data[place + 8:place + 8 + size]
        place += 8 + size + size % 2
    if len(chunks.get(b"fmt ", b"")) < 16 or b"data" not in chunks:
        raise SpeechError(f"{path}: a WAV file without a format or samples")
    tag, channels, rate, _, _, bits = struct.unpack_from("<HHIIHH", chunks[b"fmt "])
    if channels != 1 or (tag, bits) not in FORMATS:
        raise SpeechError(f"{path}: only samples of 16 bits or floats of one channel can be read")
    kind, full_scale = FORMATS[tag, bits]
    samples = chunks[b"data"]
    whole = len(samples) // (bits // 8) * (bits // 8)
    return np.frombuffer(samples[:whole], kind).astype(np.float32) / full_scale, rate


def write_wav(path, samples):
    """Writes samples at 16 kHz. Those beyond -1 to 1 are clipped."""
    data = np.clip(np.rint(np.asarray(samples) * 32767), -32768, 32767).astype("<i2")
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(data.tobytes())
