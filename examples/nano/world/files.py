"""Writes PNG pictures and AVI videos of PNG frames, which FFmpeg reads everywhere."""

import struct
import zlib

import numpy as np


def png(pixels: np.ndarray) -> bytes:
    """The PNG of RGB pixels, uint8 [height, width, 3]."""
    height, width, _ = pixels.shape
    # Each row begins with its filter: 1, the difference to the pixel on the left.
    rows = pixels.copy()
    rows[:, 1:] -= pixels[:, :-1]
    lines = np.concatenate([np.ones((height, 1), np.uint8), rows.reshape(height, -1)], axis=1)

    def chunk(name: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + name + data + struct.pack(
            ">I", zlib.crc32(name + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(lines.tobytes(), 6)) + chunk(b"IEND", b""))


def avi(frames, rate: int = 2) -> bytes:
    """The AVI of RGB frames, each uint8 [height, width, 3], all of one size.

    rate: frames a second
    """
    pictures = [png(frame) for frame in frames]
    height, width, _ = frames[0].shape
    largest = max(map(len, pictures))

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    def listed(name: bytes, data: bytes) -> bytes:
        return chunk(b"LIST", name + data)

    main = struct.pack(
        "<14I", 1_000_000 // rate, largest * rate, 0, 0x10, len(pictures), 0, 1, largest, width,
        height, 0, 0, 0, 0)
    stream = b"vids" + b"MPNG" + struct.pack(
        "<IHHIIIIIIII4H", 0, 0, 0, 0, 1, rate, 0, len(pictures), largest, 0xFFFFFFFF, 0, 0, 0,
        width, height)
    form = struct.pack(
        "<IiiHH4sIiiII", 40, width, height, 1, 24, b"MPNG", width * height * 3, 0, 0, 0, 0)
    header = listed(
        b"hdrl",
        chunk(b"avih", main) + listed(b"strl", chunk(b"strh", stream) + chunk(b"strf", form)))
    movie, index, place = b"", b"", 4
    for picture in pictures:
        piece = chunk(b"00dc", picture)
        index += b"00dc" + struct.pack("<III", 0x10, place, len(picture))
        place += len(piece)
        movie += piece
    body = b"AVI " + header + listed(b"movi", movie) + chunk(b"idx1", index)
    return b"RIFF" + struct.pack("<I", len(body)) + body
