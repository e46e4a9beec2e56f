"""Runs the command-line tool, and reads and writes WAV files and safetensors. Needs numpy."""

import json
import os
import struct
import subprocess
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "Tests/Fixtures"
MP3 = FIXTURES / "media/hi.mp3"
TOOL = os.environ.get("LYRA_TOOL", str(ROOT / ".build/lyra/bin/lyra"))
GREEDY = ("--temperature", "0", "--max-tokens", "12")
# What ends a copy of a checkpoint's answers.
END_TOKENS = (2048, 2050)


def lyra(*arguments, **options):
    """→ the ended process, with its stdout and stderr as text"""
    command = [TOOL, *map(str, arguments)]
    return subprocess.run(
        command, stdin=subprocess.DEVNULL, stdout=options.pop("stdout", subprocess.PIPE), stderr=subprocess.PIPE,
        encoding="utf-8", timeout=120, **options)


def model_of(variant):
    """The arguments that name a fixture checkpoint, "a" or "b", and its towers."""
    return "--model", FIXTURES / variant / "lyra", "--towers", FIXTURES / variant / "model_zoo"


def generate(*arguments, **options):
    """One greedy turn on fixture a unless `arguments` say otherwise. → the process"""
    model = () if "--model" in arguments else model_of("a")
    return lyra("generate", *model, *GREEDY, *arguments, **options)


def answer(*arguments, **options):
    """The JSON object of a turn, which must succeed and print nothing else."""
    ended = generate(*arguments, "--json", **options)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert ended.stdout.endswith("}\n") and ended.stdout.count("\n") == 1
    return json.loads(ended.stdout)


def fails(ended, *parts):
    """Checks that the process ended with 1 and printed one line to stderr that contains all of `parts`."""
    assert ended.returncode == 1, ended
    assert ended.stderr.startswith("lyra: ") and ended.stderr.endswith("\n") and ended.stderr.count("\n") == 1, ended
    for part in parts:
        assert str(part) in ended.stderr


def is_wrong_usage(ended, part=""):
    assert (ended.returncode, ended.stdout) == (64, ""), ended
    assert part in ended.stderr and "Usage: lyra" in ended.stderr


def read_safetensors(path):
    """→ arrays by name, of the types float32, float64, int64 and uint8."""
    data = Path(path).read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    body = memoryview(data)[8 + length:]
    types = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "U8": np.uint8}
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], types[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in json.loads(data[8:8 + length]).items() if name != "__metadata__"}


def write_safetensors(path, arrays):
    """Arrays of float32, by name."""
    header, end = {}, 0
    for name, array in arrays.items():
        assert array.dtype == np.float32
        header[name] = {"dtype": "F32", "shape": array.shape, "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header).encode()
    body = b"".join(array.tobytes() for array in arrays.values())
    Path(path).write_bytes(struct.pack("<Q", len(text)) + text + body)


def case(variant, name):
    return read_safetensors(FIXTURES / variant / "cases" / f"{name}.safetensors")


def write_wav(path, samples, rate=16000):
    """Mono, 32-bit float."""
    body = np.asarray(samples, "<f4").tobytes()
    format = struct.pack("<HHIIHH", 3, 1, rate, rate * 4, 4, 32)
    chunks = b"WAVEfmt " + struct.pack("<I", len(format)) + format + b"data" + struct.pack("<I", len(body)) + body
    Path(path).write_bytes(b"RIFF" + struct.pack("<I", len(chunks)) + chunks)


def read_wav(path):
    """→ rate, float32 samples. The file must be complete, mono and 32-bit float."""
    data = Path(path).read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    chunks, at = {}, 12
    while at < len(data):
        name, size = data[at:at + 4], struct.unpack("<I", data[at + 4:at + 8])[0]
        chunks[name] = data[at + 8:at + 8 + size]
        assert len(chunks[name]) == size
        at += 8 + size + size % 2
    code, channels, rate, bytes_a_second, frame_bytes, bits = struct.unpack("<HHIIHH", chunks[b"fmt "][:16])
    assert (code, channels, bits, frame_bytes, bytes_a_second) == (3, 1, 32, 4, rate * 4)
    samples = np.frombuffer(chunks[b"data"], "<f4")
    assert struct.unpack("<I", chunks[b"fact"])[0] == len(samples)
    return rate, samples
