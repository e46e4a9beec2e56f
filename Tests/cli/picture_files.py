"""Writes TIFF and PNG files, and compares lyra's pixels with Pillow's."""

import struct
import zlib

import numpy as np
from PIL import Image, ImageOps

from support import lyra, read_safetensors

WIDTH, HEIGHT = 53, 37


def noise(*shape, seed=1, high=256, dtype=np.uint8):
    return np.random.default_rng(seed).integers(0, high, shape, dtype=dtype)


def smooth():
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH]
    return np.stack([x * 4, y * 6, 255 - x * 2 - y * 2], -1).astype(np.uint8)


def decoded(path):
    """The pixels that lyra decodes from a file: [height, width, 3]."""
    out = path.with_suffix(".safetensors")
    ended = lyra("features", path, "--out", out)
    assert (ended.returncode, ended.stderr) == (0, "")
    return read_safetensors(out)["rgb"]


def on_white(image):
    """Upright RGB on white, computed by Pillow."""
    image = ImageOps.exif_transpose(image)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(image.convert("RGB"), mask=image.getchannel("A"))
        return np.asarray(white)
    return np.asarray(image.convert("RGB"))


def check(path, wanted=None, tolerance=0):
    if wanted is None:
        with Image.open(path) as image:
            wanted = on_white(image)
    got = decoded(path)
    assert got.shape == wanted.shape
    assert np.abs(got.astype(int) - wanted.astype(int)).max() <= tolerance


class Tiff:
    """Writes a TIFF: samples [height, width, samples] in strips or tiles, interleaved or planar."""

    def __init__(self, big_endian=False, big=False):
        self.order = ">" if big_endian else "<"
        self.big = big

    def pack(self, samples, bits):
        """-> the bytes of rows of samples, each row padded to a whole byte"""
        if bits in (8, 16, 32):
            return samples.astype(f"{self.order}u{bits // 8}").tobytes()
        flat = samples.reshape(len(samples), -1)
        digits = (flat[:, :, None] >> np.arange(bits - 1, -1, -1)) & 1
        return np.packbits(digits.reshape(len(flat), -1).astype(np.uint8), axis=1).tobytes()

    def parts(self, samples, bits, tile, rows, planar):
        planes = [samples[:, :, i:i + 1] for i in range(samples.shape[2])] if planar else [samples]
        for plane in planes:
            height, width, _ = plane.shape
            if tile:
                down, across = tile
                size = (-(-height // down) * down, -(-width // across) * across, plane.shape[2])
                padded = np.zeros(size, plane.dtype)
                padded[:height, :width] = plane
                for y in range(0, height, down):
                    for x in range(0, width, across):
                        yield self.pack(padded[y:y + down, x:x + across], bits)
            else:
                for y in range(0, height, rows):
                    yield self.pack(plane[y:y + rows], bits)

    def write(self, path, samples, bits=8, photometric=2, tile=None, rows=11, planar=False, deflate=False, tags=()):
        """tags: (number, type, values)"""
        height, width, count = samples.shape
        parts = list(self.parts(samples, bits, tile, rows, planar))
        if deflate:
            parts = [zlib.compress(part) for part in parts]
        head = 16 if self.big else 8
        offsets = [head + sum(map(len, parts[:i])) for i in range(len(parts))]
        layout = [(322, 4, [tile[1]]), (323, 4, [tile[0]]), (324, 4, offsets), (325, 4, [len(p) for p in parts])] \
            if tile else [(273, 4, offsets), (278, 4, [rows]), (279, 4, [len(p) for p in parts])]
        entries = [(256, 4, [width]), (257, 4, [height]), (258, 3, [bits] * count), (259, 3, [8 if deflate else 1]),
                   (262, 3, [photometric]), (277, 3, [count]), (284, 3, [2 if planar else 1]), *layout, *tags]
        self.assemble(path, b"".join(parts), entries)

    def assemble(self, path, data, entries):
        """Writes a file of data, from byte 8 or 16 on, and a directory."""
        head, room = (16, 8) if self.big else (8, 4)
        data += bytes(-len(data) % 8)
        start = head + len(data)
        entries = sorted(entries)
        size = (8 + 20 * len(entries) + 8) if self.big else (2 + 12 * len(entries) + 4)
        directory, tail = b"", b""
        long = "Q" if self.big else "I"
        for tag, kind, values in entries:
            codes = {1: "B", 2: "B", 3: "H", 4: "I", 5: "I", 6: "b", 7: "B", 8: "h", 9: "i", 16: "Q"}
            body = struct.pack(f"{self.order}{len(values)}{codes[kind]}", *values)
            number = len(values) // 2 if kind == 5 else len(values)
            directory += struct.pack(f"{self.order}HH{long}", tag, kind, number)
            if len(body) <= room:
                directory += body + bytes(room - len(body))
            else:
                directory += struct.pack(f"{self.order}{long}", start + size + len(tail))
                tail += body + bytes(-len(body) % 2)
        mark = b"MM" if self.order == ">" else b"II"
        first = (struct.pack(f"{self.order}HHHQ", 43, 8, 0, start) if self.big
                 else struct.pack(f"{self.order}HI", 42, start))
        count = struct.pack(f"{self.order}{'Q' if self.big else 'H'}", len(entries))
        path.write_bytes(mark + first + data + count + directory + bytes(room) + tail)


def png(width, height, depth, color, rows, *chunks):
    def chunk(name, data):
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))

    raw = b"".join(b"\0" + row for row in rows)
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(
        chunk(*c) for c in chunks) + chunk(b"IDAT", zlib.compress(raw)) + chunk(b"IEND", b"")
