#!/usr/bin/env python3
"""Keeps what a stage of the training has made, as BF16, and puts it back.

    stages.py keep RUN/model START KEPT      # what differs from the checkpoint that it started from
    stages.py keep RUN/speech_lora none KEPT # the whole, also of a file
    stages.py restore KEPT START MODEL       # a copy of START (none: of nothing) with what was kept, in F32
    stages.py log RUN/log.jsonl KEPT.jsonl   # validations, and about 200 of the updates
    stages.py scale FILE.safetensors LAYER FACTOR   # a linear layer's output times a factor, in place

Files keep their places. Of safetensors files, the tensors that differ are kept, and the shards of
one become one file. A file of torch.save, such as the vocoder's, is kept whole, and stays F32 with
its numbers rounded to BF16.
"""

import argparse
import json
import re
import shutil
import struct
import sys
import zipfile
from pathlib import Path

import numpy as np


class StageError(Exception):
    """What cannot be kept or restored, as a sentence."""


def rounded(numbers: np.ndarray) -> np.ndarray:
    """F32 numbers as the upper halves of their bits, rounded to nearest even. → uint16"""
    if not np.isfinite(numbers).all():
        raise StageError("a number is not finite")
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
        pickles = [entry for entry in old.namelist() if entry.endswith("/data.pkl")]
        kinds = set(re.findall(rb"[A-Z][a-z]+Storage", old.read(pickles[0]))) if pickles else set()
        if kinds != {b"FloatStorage"}:
            raise StageError(f"{source}: not a file of F32 tensors")
        for entry in old.infolist():
            data = old.read(entry)
            if "/data/" in entry.filename:
                data = widened(rounded(np.frombuffer(data, np.float32))).tobytes()
            new.writestr(entry, data)


def whole_files(folder: Path) -> dict:
    """The tensors of the safetensors files of a folder, by the name of the file without shards."""
    found = {}
    for path in sorted(folder.glob("*.safetensors")):
        name = re.sub(r"-\d+-of-\d+$", "", path.stem) + ".safetensors"
        found.setdefault(name, {}).update(read_tensors(path)[0])
    return found


def keep(model: Path, start, kept: Path):
    if model.is_file():
        keep_file(model, kept)
        return
    for path in files(model):
        place = path.relative_to(model)
        if path.name.endswith((".safetensors", ".index.json")) or (
                start and (start / place).exists()
                and (start / place).read_bytes() == path.read_bytes()):
            continue
        keep_file(path, kept / place)
    for place in {path.parent.relative_to(model) for path in model.rglob("*.safetensors")}:
        old = whole_files(start / place) if start else {}
        for name, tensors in whole_files(model / place).items():
            before = old.get(name, {})
            changed = {
                each: narrow(tensor) for each, tensor in tensors.items()
                if tensor != before.get(each)}
            if changed:
                (kept / place).mkdir(parents=True, exist_ok=True)
                write_tensors(kept / place / name, changed, {"format": "pt"})


def restore(kept: Path, start, model: Path):
    if kept.is_file():
        model.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(kept, model)
        return
    if start:
        shutil.copytree(start, model)
    for path in files(kept):
        target = model / path.relative_to(kept)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix != ".safetensors":
            shutil.copyfile(path, target)
            continue
        changed = {name: widen(each) for name, each in read_tensors(path)[0].items()}
        # The file, or its shards.
        for old in sorted(target.parent.glob(path.stem + "*.safetensors")):
            tensors, metadata = read_tensors(old)
            write_tensors(
                old, tensors | {name: changed.pop(name) for name in tensors if name in changed},
                metadata)
        if changed and list(target.parent.glob(path.stem + "*.index.json")):
            raise StageError(f"{path}: {min(changed)}: not in the shards of the start")
        if changed:
            old = read_tensors(target)[0] if target.exists() else {}
            write_tensors(target, old | changed, {"format": "pt"})


def keep_log(log: Path, kept: Path):
    lines = log.read_text().splitlines()
    updates = [index for index, line in enumerate(lines) if "loss" in json.loads(line)]
    left_out = set(updates) - set(updates[::max(1, len(updates) // 200)] + updates[-1:])
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text("".join(
        line + "\n" for index, line in enumerate(lines) if index not in left_out))


def scale(file: Path, layer: str, factor: float):
    tensors, metadata = read_tensors(file)
    for name in (layer + ".weight", layer + ".bias"):
        if name not in tensors or tensors[name][0] != "F32":
            raise StageError(f"{file}: {name}: no such tensor of floats")
        dtype, shape, data = tensors[name]
        tensors[name] = dtype, shape, (np.frombuffer(data, np.float32) * np.float32(factor)).tobytes()
    write_tensors(file, tensors, metadata)


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
    command = commands.add_parser("scale")
    command.add_argument("file", type=Path)
    command.add_argument("layer")
    command.add_argument("factor", type=float)
    options = vars(parser.parse_args())
    what = {"keep": keep, "restore": restore, "log": keep_log, "scale": scale}[options.pop("what")]
    if options.get("start") == Path("none"):
        options["start"] = None
    try:
        if what != scale:
            *sources, target = options.values()
            for path in sources:
                if path and not path.exists():
                    raise StageError(f"{path}: not there")
            if target.exists():
                raise StageError(f"{target}: exists already")
        what(**options)
    except (OSError, StageError) as error:
        print(f"stages.py: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
