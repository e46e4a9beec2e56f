"""Useless headers of 20 MB are refused with a message, and take no more memory than a few times their size."""

import json
import shutil
import struct
import subprocess
import sys

import pytest

from support import TOOL, lyra

SIZE = 20_000_000


# The peak memory of a child includes that of its parent at the start, so a small process starts the tool.
START = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL).returncode
print(status, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024)
"""


def peak(*arguments):
    """Runs the tool. → the exit status, what it printed to stderr, and its peak of resident memory in bytes"""
    ended = subprocess.run(
        [sys.executable, "-c", START, TOOL, *map(str, arguments)], capture_output=True, text=True, check=True)
    status, memory = ended.stdout.split()
    return int(status), ended.stderr, int(memory)


def filled(start, unit, end):
    """About 20 MB of repeated `unit`, in which {} is a growing number."""
    count = SIZE // (len(unit) + 5)
    return (start + ",".join(unit.replace("{}", str(index)) for index in range(count)) + end).encode()


ENTRY = '{"dtype":"U8","shape":[0],"data_offsets":[0,0]}'
HEADERS = {
    "tensors": filled("{", '"{}":' + ENTRY, "}"),
    "long names": filled("{", '"' + "n" * 300 + '{}":' + ENTRY, "}"),
    "one name": b'{"' + b"n" * SIZE + b'":' + ENTRY.encode() + b"}",
    "axes": b'{"a":{"dtype":"U8","shape":[' + b"1," * (SIZE // 2) + b'1],"data_offsets":[0,0]}}',
    "offsets": b'{"a":{"dtype":"U8","shape":[1],"data_offsets":[' + b"1," * (SIZE // 2) + b"1]}}",
    "metadata": filled('{"__metadata__":{', '"{}":""', "}}"),
    "nested": b'{"a":' + b"[" * SIZE + b"}",
}


@pytest.fixture(scope="module")
def usual(tiny):
    return peak("inspect", tiny)[2]


def refused(model, usual, *parts, limit=4 * SIZE):
    status, errors, memory = peak("inspect", model)
    assert status == 1 and errors.startswith("lyra: ") and errors.count("\n") == 1, errors[:1000]
    for part in parts:
        assert str(part) in errors
    assert memory - usual <= limit, (memory - usual) / SIZE


@pytest.mark.parametrize("name", HEADERS)
def test_a_header_of_safetensors(name, tiny, usual, tmp_path):
    model = tmp_path / "lyra"
    shutil.copytree(tiny, model)
    shard = model / "model-00001-of-00002.safetensors"
    shard.write_bytes(struct.pack("<Q", len(HEADERS[name])) + HEADERS[name])
    refused(model, usual, model)


@pytest.mark.parametrize("text", [
    filled('{"weight_map":{', '"{}":"model-00001-of-00002.safetensors"', "}}"),
    filled('{"metadata":{', '"{}":[1]', '},"weight_map":{"a":"b"}}')], ids=["tensors", "metadata"])
def test_an_index(text, tiny, usual, tmp_path):
    model = tmp_path / "lyra"
    shutil.copytree(tiny, model)
    (model / "model.safetensors.index.json").write_bytes(text)
    refused(model, usual, model)


@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "speech_lora/adapter_config.json"])
def test_a_configuration(name, tiny, usual, tmp_path):
    model = tmp_path / "lyra"
    shutil.copytree(tiny, model)
    (model / name).write_bytes(b'{"a":[' + b"1," * (SIZE // 2) + b"1]," + (tiny / name).read_bytes().strip()[1:])
    refused(model, usual, model / name, "1048576", limit=SIZE)


def gguf(keys, tensors, body):
    return b"GGUF" + struct.pack("<IQQ", 3, tensors, keys) + body


def text(value):
    return struct.pack("<Q", len(value)) + value.encode()


@pytest.mark.parametrize("kind", ["keys", "strings", "tensors", "text"])
def test_a_header_of_gguf(kind, tiny, usual, tmp_path):
    count = SIZE // {"keys": 20, "strings": 8, "tensors": 40, "text": 1}[kind]
    body = {
        "keys": lambda: gguf(count, 0, b"".join(text(str(index)) + struct.pack("<IB", 0, 0) for index in range(count))),
        "strings": lambda: gguf(1, 0, text("k") + struct.pack("<IIQ", 9, 8, count) + bytes(8 * count)),
        "tensors": lambda: gguf(
            0, count, b"".join(text(str(index)) + struct.pack("<IQIQ", 1, 0, 0, 0) for index in range(count))),
        "text": lambda: gguf(1, 0, text("k") + struct.pack("<I", 8) + text("t" * count)),
    }[kind]()
    file = tmp_path / "m.gguf"
    file.write_bytes(body + bytes(64))
    refused(file, usual, file)


@pytest.mark.parametrize(
    "body",
    [b"]" * SIZE, b"(" * SIZE, b"]q\x00" * (SIZE // 3), b"]\x94" * (SIZE // 2), b"N\x85" * (SIZE // 2)],
    ids=["lists", "marks", "puts", "memoized", "tuples"],
)
def test_a_pickle(body, tiny, usual, tmp_path):
    model = tmp_path / "lyra"
    shutil.copytree(tiny, model)
    # The legacy format: magic number, version, machine, then the pickle of the saved object.
    start = (b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19." b"\x80\x02M\xe9\x03."
             b"\x80\x02}X\x0d\x00\x00\x00little_endian\x88s.")
    (model / "speech_lora/non_lora_trainables.bin").write_bytes(start + b"\x80\x02" + body + b".")
    refused(model, usual, model, limit=10 * SIZE)


def number(code, mantissa_bits, bias, top):
    """The value of an 8-bit float, by the definition."""
    exponent, mantissa = (code & 0x7F) >> mantissa_bits, code & ((1 << mantissa_bits) - 1)
    size = mantissa / (1 << mantissa_bits)
    value = 2.0 ** (1 - bias) * size if exponent == 0 else 2.0 ** (exponent - bias) * (1 + size)
    return -value if code & 0x80 else value


def retyped(model, target, dtype, change):
    """A copy of a checkpoint in which the first query matrix has another dtype and `change` of its bytes."""
    shutil.copytree(model, target)
    index = json.loads((target / "model.safetensors.index.json").read_text())
    name = "model.layers.0.self_attn.q_proj.weight"
    path = target / index["weight_map"][name]
    data = path.read_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    header, body, out, tensors = json.loads(data[8:8 + length]), data[8 + length:], b"", {}
    for key, entry in header.items():
        if key == "__metadata__":
            continue
        start, end = entry["data_offsets"]
        piece = body[start:end]
        if key == name:
            entry["dtype"], piece = dtype, change(piece)
        tensors[key] = {**entry, "data_offsets": [len(out), len(out) + len(piece)]}
        out += piece
    # An unused tensor of an unknown type.
    tensors["unused.statistics"] = {"dtype": "U16", "shape": [3], "data_offsets": [len(out), len(out) + 6]}
    index["weight_map"]["unused.statistics"] = path.name
    (target / "model.safetensors.index.json").write_text(json.dumps(index))
    text = json.dumps(tensors).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + out + b"123456")
    return target


def answer(model):
    ended = lyra(
        "generate", "--model", model, "--prompt", "Hello", "--temperature", "0", "--max-tokens", "12", "--json"
    )
    assert (ended.returncode, ended.stderr) == (0, ""), ended
    return json.loads(ended.stdout)["token_ids"]


def test_an_unused_tensor_may_have_any_type(tiny, tmp_path):
    assert answer(retyped(tiny, tmp_path / "lyra", "BF16", lambda piece: piece)) == answer(tiny)


@pytest.mark.parametrize("dtype, shape", [("F8_E4M3", (3, 7)), ("F8_E5M2", (2, 15))])
def test_floats_of_8_bits_answer_like_the_same_numbers_in_16(dtype, shape, tiny, tmp_path):
    # The upper bytes of the matrix that are numbers of moderate size.
    def codes(piece):
        return bytes((byte & 0x80) | (0x20 + (byte * 7) % 0x18) for byte in piece[::2])

    def wide(piece):
        return b"".join(struct.pack("<f", number(code, *shape, 0))[2:] for code in codes(piece))

    want = answer(retyped(tiny, tmp_path / "wide", "BF16", wide))
    assert answer(retyped(tiny, tmp_path / "narrow", dtype, codes)) == want
    converted = tmp_path / "m.gguf"
    assert lyra("convert", tmp_path / "narrow", "-o", converted, "--type", "bf16").returncode == 0
    assert answer(converted) == want


@pytest.mark.parametrize("dtype", ["F4", "C64", "I8", "F8_E8M0"])
def test_a_needed_tensor_of_another_type_is_named(dtype, tiny, tmp_path):
    size = {"I8": 1, "C64": 2}.get(dtype, 1)
    model = retyped(tiny, tmp_path / "lyra", dtype, lambda piece: piece[:len(piece) // 2] * size)
    ended = lyra("inspect", model)
    assert ended.returncode == 1 and "q_proj.weight" in ended.stderr and dtype in ended.stderr
