#!/usr/bin/env python3
"""Copies a checkpoint, or a part of one, with its numbers rounded to BF16.

    to_bf16.py nano trained

Safetensors files become BF16. In files of torch.save, such as the vocoder's, numbers are rounded but
stay F32. Other files are copied.
"""

import json
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np


def rounded(numbers: np.ndarray) -> np.ndarray:
    """The upper halves of F32 numbers as BF16, rounded to nearest even: uint16 of the same shape."""
    bits = numbers.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def convert_safetensors(source: Path, target: Path):
    data = source.read_bytes()
    start = 8 + struct.unpack_from("<Q", data)[0]
    header, tensors, place = json.loads(data[8:start]), [], 0
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        tensor = data[start + begin:start + end]
        if entry["dtype"] == "F32":
            tensor = rounded(np.frombuffer(tensor, np.float32)).tobytes()
            entry["dtype"] = "BF16"
        entry["data_offsets"] = [place, place + len(tensor)]
        place += len(tensor)
        tensors.append(tensor)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    target.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors))


def convert_torch(source: Path, target: Path):
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if "/data/" in entry.filename:
                halves = rounded(np.frombuffer(data, np.float32))
                data = (halves.astype(np.uint32) << 16).tobytes()
            new.writestr(entry, data)


def main() -> int:
    if len(sys.argv) != 3:
        print("usage: to_bf16.py FROM TO", file=sys.stderr)
        return 64
    source, target = map(Path, sys.argv[1:])
    for path in sorted(source.rglob("*")):
        made = target / path.relative_to(source)
        if path.is_dir():
            continue
        made.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            convert_safetensors(path, made)
        elif zipfile.is_zipfile(path):
            convert_torch(path, made)
        else:
            shutil.copyfile(path, made)
    return 0


if __name__ == "__main__":
    sys.exit(main())
