#!/usr/bin/env python3
"""Keeps what a stage of the training has made, as BF16, and puts it back.

    stages.py keep RUN/model START KEPT      # what differs from the checkpoint that it started from
    stages.py keep RUN/speech_lora none KEPT # the whole, also of a file
    stages.py restore KEPT START MODEL       # START, or nothing for none, with what was kept, in F32
    stages.py log RUN/log.jsonl KEPT.jsonl   # validations, and about 200 of the updates

Files keep their places. Of a safetensors file, the tensors that differ are kept. A file of
torch.save, such as the vocoder's, is kept whole, and stays F32 with its numbers rounded to BF16.
"""

import argparse
import json
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np


def rounded(numbers: np.ndarray) -> np.ndarray:
    """F32 numbers as the upper halves of their bits, rounded to nearest even. → uint16"""
    bits = numbers.view(np.uint32)
    return ((bits + (0x7FFF + ((bits >> 16) & 1))) >> 16).astype(np.uint16)


def widened(halves: np.ndarray) -> np.ndarray:
    """The F32 numbers that BF16 stands for."""
    return (halves.astype(np.uint32) << 16).view(np.float32)


# MARK: Safetensors


def read_tensors(path: Path) -> tuple:
    """→ the tensors as {name: (dtype, shape, bytes)}, and the file's metadata"""
    data = path.read_bytes()
    start = 8 + struct.unpack_from("<Q", data)[0]
    header = json.loads(data[8:start])
    metadata = header.pop("__metadata__", None)
    return {
        name: (
            entry["dtype"], entry["shape"],
            data[start + entry["data_offsets"][0]:start + entry["data_offsets"][1]])
        for name, entry in header.items()}, metadata


def write_tensors(path: Path, tensors: dict, metadata):
    header, place = {} if metadata is None else {"__metadata__": metadata}, 0
    for name, (dtype, shape, data) in tensors.items():
        header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [place, place + len(data)]}
        place += len(data)
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    path.write_bytes(
        struct.pack("<Q", len(text)) + text + b"".join(data for _, _, data in tensors.values()))


def narrow(tensor):
    dtype, shape, data = tensor
    if dtype != "F32":
        return tensor
    return "BF16", shape, rounded(np.frombuffer(data, np.float32)).tobytes()


def widen(tensor):
    dtype, shape, data = tensor
    if dtype != "BF16":
        return tensor
    return "F32", shape, widened(np.frombuffer(data, np.uint16)).tobytes()


# MARK: Files


def files(folder: Path):
    return [path for path in sorted(folder.rglob("*")) if path.is_file()]


def keep_file(source: Path, target: Path):
    target.parent.mkdir(parents=True, exist_ok=True)
    if not zipfile.is_zipfile(source):
        shutil.copyfile(source, target)
        return
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for entry in old.infolist():
            data = old.read(entry)
            if "/data/" in entry.filename:
                data = widened(rounded(np.frombuffer(data, np.float32))).tobytes()
            new.writestr(entry, data)


def tensors_in(folder: Path) -> dict:
    """Of all safetensors files of a folder."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        found |= read_tensors(path)[0]
    return found


def keep(model: Path, start: Path, kept: Path):
    if model.is_file():
        keep_file(model, kept)
        return
    for path in files(model):
        place = path.relative_to(model)
        before = start / place
        if path.name.endswith((".safetensors", ".index.json")) or (
                before.exists() and before.read_bytes() == path.read_bytes()):
            continue
        keep_file(path, kept / place)
    for place in {path.parent.relative_to(model) for path in model.rglob("*.safetensors")}:
        old = tensors_in(start / place)
        changed = {
            name: narrow(each) for name, each in tensors_in(model / place).items()
            if each != old.get(name)}
        if changed:
            (kept / place).mkdir(parents=True, exist_ok=True)
            write_tensors(kept / place / "model.safetensors", changed, {"format": "pt"})


def restore(kept: Path, start: Path, model: Path):
    if kept.is_file():
        model.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept, model)
        return
    if start.exists():
        shutil.copytree(start, model)
    for path in files(kept):
        target = model / path.relative_to(kept)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".safetensors":
            shutil.copyfile(path, target)
            continue
        changed = {name: widen(each) for name, each in read_tensors(path)[0].items()}
        for old in sorted(target.parent.glob("*.safetensors")):
            tensors, metadata = read_tensors(old)
            write_tensors(
                old, tensors | {name: changed.pop(name) for name in tensors if name in changed},
                metadata)
        if changed:
            old = read_tensors(target)[0] if target.exists() else {}
            write_tensors(target, old | changed, {"format": "pt"})


def keep_log(log: Path, kept: Path):
    lines = log.read_text().splitlines()
    updates = [index for index, line in enumerate(lines) if "loss" in json.loads(line)]
    chosen = set(updates[::max(1, len(updates) // 200)] + updates[-1:])
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("".join(
        line + "\n" for index, line in enumerate(lines)
        if index in chosen or index not in updates))


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.split("\n")[0], epilog="See the top of this file.")
    commands = parser.add_subparsers(dest="what", required=True)
    for name, places in (
            ("keep", ("model", "start", "kept")), ("restore", ("kept", "start", "model")),
            ("log", ("log", "kept"))):
        command = commands.add_parser(name)
        for place in places:
            command.add_argument(place, type=Path)
    options = vars(parser.parse_args())
    what = {"keep": keep, "restore": restore, "log": keep_log}[options.pop("what")]
    target = list(options.values())[-1]
    if target.exists():
        print(f"stages.py: {target}: exists already", file=sys.stderr)
        return 1
    what(**options)
    return 0


if __name__ == "__main__":
    sys.exit(main())
