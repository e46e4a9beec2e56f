"""The package's declarations agree with lyra.h: sizes, offsets, constants, and the list of functions."""

import ctypes
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lyra
from lyra import _abi

ROOT = Path(__file__).resolve().parents[2]
HEADER = ROOT / "include/lyra.h"


@pytest.fixture(scope="module")
def ask_compiler(tmp_path_factory):
    """A function that evaluates integer expressions of C."""
    work = tmp_path_factory.mktemp("layout")

    def ask(expressions):
        lines = "\n".join(f'    printf("%lld\\n", (long long)({expression}));' for expression in expressions)
        source = work / "ask.c"
        source.write_text(f"#include <lyra.h>\n#include <stdio.h>\nint main(void) {{\n{lines}\n    return 0;\n}}\n")
        subprocess.run(["gcc", "-std=c99", f"-I{HEADER.parent}", str(source), "-o", str(work / "ask")], check=True)
        answers = subprocess.run([str(work / "ask")], check=True, capture_output=True, text=True).stdout.split()
        return [int(answer) for answer in answers]

    return ask


@pytest.mark.parametrize("name", _abi.STRUCTS)
def test_each_struct_has_the_headers_size_and_offsets(name, ask_compiler):
    struct = _abi.STRUCTS[name]
    fields = [field for field, _ in struct._fields_]
    expected = ask_compiler(
        [f"sizeof({name})"]
        + [f"offsetof({name}, {field})" for field in fields]
        + [f"sizeof((({name} *)0)->{field})" for field in fields]
    )
    found = (
        [ctypes.sizeof(struct)]
        + [getattr(struct, field).offset for field in fields]
        + [getattr(struct, field).size for field in fields]
    )
    assert found == expected


def test_constants_are_the_headers(ask_compiler):
    names = (
        [("LYRA_OK" if status == 0 else f"LYRA_E_{status.name}", status) for status in lyra.Status]
        + [(f"LYRA_PHASE_{phase.name}", phase) for phase in lyra.Phase]
        + [(f"LYRA_STOP_{reason.name}", reason) for reason in lyra.StopReason]
        + [(f"LYRA_SAMPLING_{name.upper()}", value) for name, value in _abi.SAMPLING.items()]
        + [(f"LYRA_EXTRACTOR_{name.upper()}", value) for name, value in _abi.EXTRACTOR.items()]
        + [(f"LYRA_KV_{name.upper()}", value) for name, value in _abi.KV_TYPES.items()]
        + [(f"LYRA_PRECISION_{name.upper()}", value) for name, value in _abi.PRECISIONS.items()]
        + [(f"LYRA_MEDIA_{kind.name}", kind) for kind in lyra.MediaKind]
        + [(f"LYRA_LOG_{name.upper()}", value) for value, name in _abi.LOG_LEVELS.items()]
        + [(f"LYRA_EVENT_{name}", getattr(_abi, f"EVENT_{name}")) for name in ("PROGRESS", "TEXT", "AUDIO", "END")]
    )
    assert [int(value) for _, value in names] == ask_compiler([name for name, _ in names])
    constants = set(re.findall(r"\b(LYRA_[A-Z0-9_]+) = \d+", HEADER.read_text()))
    assert {name for name, _ in names} == constants


def test_the_declarations_are_generated_from_the_header():
    script = ROOT / "bindings/python/make_abi.py"
    checked = subprocess.run([sys.executable, str(script), "--check"])
    assert checked.returncode == 0, f"_abi.py is stale: run {script}"


def test_a_changed_header_makes_the_declarations_stale(tmp_path):
    tree = tmp_path / "bindings/python"
    shutil.copytree(ROOT / "bindings/python", tree)
    (tmp_path / "include").mkdir()
    header = HEADER.read_text()
    (tmp_path / "include/lyra.h").write_text(header.replace("int32_t max_frames;", "int32_t max_frames, more;"))
    assert subprocess.run([sys.executable, str(tree / "make_abi.py"), "--check"]).returncode == 1


def test_every_function_of_the_header_is_declared():
    seen = subprocess.run(["gcc", "-E", "-P", str(HEADER)], check=True, capture_output=True, text=True).stdout
    declared = set(re.findall(r"\b(lyra_\w+)\s*\([^*(]", seen))
    assert declared == set(_abi.STATUS_FUNCTIONS) | set(_abi.STRING_FUNCTIONS)
