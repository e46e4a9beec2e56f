"""The command-line tool, and the numbers that an independent implementation computed for two small checkpoints."""

import json
import os
import struct
import subprocess
from pathlib import Path

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
FIXTURES = ROOT / "Tests/Fixtures"
TYPES = {"F32": "<f4", "I64": "<i8", "U8": "u1", "F64": "<f8"}


def tensors(path):
    data = Path(path).read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + size])
    header.pop("__metadata__", None)
    body = data[8 + size :]
    return {
        name: np.frombuffer(body[slice(*entry["data_offsets"])], TYPES[entry["dtype"]]).reshape(entry["shape"])
        for name, entry in header.items()
        if entry["dtype"] in TYPES
    }


def write_wav(path, samples, rate=16000):
    data = np.asarray(samples, "<f4").tobytes()
    header = struct.pack("<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE", b"fmt ", 16, 3, 1, rate, rate * 4, 4, 32, b"data", len(data))
    Path(path).write_bytes(header + data)


def read_wav(path):
    data = Path(path).read_bytes()
    assert data[:4] == b"RIFF" and data[8:12] == b"WAVE"
    assert struct.unpack("<I", data[4:8])[0] == len(data) - 8
    at = data.index(b"data", 12)
    assert struct.unpack("<I", data[at + 4 : at + 8])[0] == len(data) - at - 8
    return np.frombuffer(data[at + 8 :], "<f4")


def run(*arguments, **options):
    tool = os.environ.get("LYRA_TOOL", str(ROOT / ".build/lyra/bin/lyra"))
    return subprocess.run([tool, *map(str, arguments)], capture_output=True, text=True, timeout=120, **options)


def fails(*arguments, code=1, **options):
    """Runs what must fail, and gives its one line."""
    result = run(*arguments, **options)
    assert result.returncode == code, result
    assert result.stdout == ""
    if code == 1:
        lines = [line for line in result.stderr.splitlines() if not line.startswith("note: ")]
        assert len(lines) == 1, result.stderr
        return lines[0]
    return result.stderr


def generate(root, *arguments, **options):
    result = run("generate", "--model", root / "lyra", "--towers", root / "model_zoo", *arguments, **options)
    assert result.returncode == 0, result.stderr
    return result.stdout
