"""Writes src/lyra/_abi.py from include/lyra.h.

    python make_abi.py [--check]

With --check, writes nothing and exits with 1 if the file is stale. Needs only Python.

The script understands what the header uses: typedefs of int32_t, enums, structs of scalars, strings, arrays and
function pointers, and functions on one or more lines.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
HEADER = HERE.parents[1] / "include/lyra.h"
OUTPUT = HERE / "src/lyra/_abi.py"

SCALARS = {
    "size_t": "c_size_t", "int32_t": "c_int32", "int64_t": "c_int64", "uint32_t": "c_uint32", "uint64_t": "c_uint64",
    "float": "c_float", "double": "c_double", "char": "c_char", "uint8_t": "c_uint8",
}
# Dictionaries of constants in the package: name → the header's prefix, and whether the numbers are the keys.
TABLES = {
    "SAMPLING": ("LYRA_SAMPLING_", False), "EXTRACTOR": ("LYRA_EXTRACTOR_", False), "KV_TYPES": ("LYRA_KV_", False),
    "PRECISIONS": ("LYRA_PRECISION_", False), "LOG_LEVELS": ("LYRA_LOG_", True),
}


def class_name(c_name: str) -> str:
    """lyra_model_options → ModelOptions; other names are unchanged."""
    if not c_name.startswith("lyra_"):
        return c_name
    return "".join(part.capitalize() for part in c_name.removeprefix("lyra_").split("_"))


class Header:
    """What lyra.h declares."""

    def __init__(self, text: str):
        text = re.sub(r"/\*.*?\*/", " ", text, flags=re.S)
        text = re.sub(r"^\s*#.*$", "", text, flags=re.M)
        self.constants = {name: int(value) for name, value in re.findall(r"\b(LYRA_[A-Z0-9_]+) = (\d+)", text)}
        self.numbers = set(re.findall(r"typedef int32_t (lyra_\w+);", text))
        self.handles = set(re.findall(r"typedef struct (lyra_\w+) \1;", text))
        self.callbacks = {
            name: (result, arguments)
            for result, name, arguments in re.findall(r"typedef (\w+) \(\*(lyra_\w+)\)\(([^)]*)\);", text)
        }
        structs = re.findall(r"typedef struct (lyra_\w+) \{(.*?)\} \1;", text, flags=re.S)
        self.structs = {name: self._fields(name, body) for name, body in structs}
        without = re.sub(r"\{.*?\}", " ", text.replace('extern "C" {', " "), flags=re.S)
        self.functions = [
            (result, name, self._split(arguments))
            for result, name, arguments in re.findall(
                r"\b(lyra_status|const char \*)\s*(lyra_\w+)\(([^()]*)\);", without)
        ]

    @staticmethod
    def _split(arguments: str) -> list[str]:
        cleaned = " ".join(arguments.split())
        return [] if cleaned in ("", "void") else [argument.strip() for argument in cleaned.split(",")]

    def _fields(self, struct: str, body: str) -> list[tuple[str, str]]:
        """Names of a struct's fields, and their types in ctypes."""
        fields: list[tuple[str, str]] = []
        for declaration in filter(None, (" ".join(part.split()) for part in body.split(";"))):
            function = re.fullmatch(r"(\w+) \(\*(\w+)\)\((.*)\)", declaration)
            if function:
                result, name, arguments = function.groups()
                callback = name.capitalize() + "Function"
                self.callbacks[callback] = (result, arguments)
                fields.append((name, callback))
                continue
            match = re.fullmatch(r"((?:const )?\w+) (.*)", declaration)
            if match is None:
                raise ValueError(f"{struct}: {declaration!r} is not understood")
            for declarator in match[2].split(","):
                array = re.fullmatch(r"\s*(\*?)(\w+)(?:\[(\d+)\])?", declarator)
                if array is None:
                    raise ValueError(f"{struct}: {declaration!r} is not understood")
                kind = self.type(match[1] + (" *" if array[1] else ""))
                fields.append((array[2], f"{kind} * {array[3]}" if array[3] else kind))
        return fields

    def type(self, declaration: str) -> str:
        """A C type in ctypes."""
        plain = declaration.replace("const ", "").replace("struct ", "").replace(" *", "*").strip()
        base, stars = plain.rstrip("*").strip(), plain.count("*")
        if base in self.callbacks and stars == 0:
            return class_name(base)
        if base == "void":
            return {0: "None", 1: "c_void_p"}[stars]
        if base in self.handles:
            # A handle is a plain address: the library itself tells open handles from closed ones.
            return "c_void_p" if stars == 1 else "POINTER(c_void_p)"
        if base in self.numbers:
            base = "int32_t"
        name = SCALARS.get(base) or (class_name(base) if base in self.structs else None)
        if name is None or stars > 1:
            raise ValueError(f"the type {declaration!r} is not understood")
        if stars == 0:
            return name
        # Python's bytes can be passed for constant bytes.
        if base in ("char", "uint8_t") and "const " in declaration:
            return "c_char_p"
        return f"POINTER({name})"

    def argument(self, declaration: str) -> str:
        """The ctypes type of a C argument, such as "const void *data"; constant bytes are a c_char_p."""
        match = re.fullmatch(r"(.*?[\s*])(\w+)", declaration)
        if match is None:
            raise ValueError(f"the argument {declaration!r} is not understood")
        kind = match[1].strip()
        if kind == "const void *":
            return "c_char_p"
        return self.type(kind)


def assigned(name: str, entries: list[str]) -> list[str]:
    return [f"{name} = {{", *(f"    {entry}," for entry in entries), "}", ""]


def render(header: Header) -> str:
    lines = [
        '"""include/lyra.h in ctypes: its structs and the types of its functions, in its order.',
        "",
        "make_abi.py writes this file; do not edit it.",
        '"""',
        "",
        "from __future__ import annotations",
        "",
        "import ctypes",
        "from ctypes import POINTER, c_char, c_char_p, c_double, c_float, c_int32, c_int64, c_size_t",
        "from ctypes import c_uint32, c_uint64, c_void_p",
        "",
    ]
    for name, (prefix, by_number) in TABLES.items():
        members = [(key, value) for key, value in header.constants.items() if key.startswith(prefix)]
        found = [(key.removeprefix(prefix).lower(), value) for key, value in members]
        pairs = [f'{value}: "{key}"' if by_number else f'"{key}": {value}' for key, value in found]
        lines.append(f"{name} = {{{', '.join(pairs)}}}")
    for key, value in header.constants.items():
        if key.startswith("LYRA_EVENT_"):
            lines.append(f"{key.removeprefix('LYRA_')} = {value}")
    lines.append("")
    for name, (result, arguments) in header.callbacks.items():
        types = [header.type(result), *(header.type(re.sub(r"\w+$", "", a).strip()) for a in header._split(arguments))]
        lines.append(f"{class_name(name)} = ctypes.CFUNCTYPE({', '.join(types)})")
    for name, fields in header.structs.items():
        lines += ["", "", f"class {class_name(name)}(ctypes.Structure):", f'    """{name}"""', "", "    _fields_ = ["]
        lines += [f'        ("{field}", {kind}),' for field, kind in fields]
        lines.append("    ]")
    lines += ["", "", "#: Each struct, by its name in the header."]
    lines += assigned("STRUCTS", [f'"{name}": {class_name(name)}' for name in header.structs])
    for table, result, what in (
        ("STATUS_FUNCTIONS", "lyra_status", "a lyra_status"), ("STRING_FUNCTIONS", "const char *", "a string")
    ):
        lines.append(f"#: The functions that return {what}, and what they take.")
        lines += assigned(table, [
            f'"{name}": [{", ".join(header.argument(a) for a in arguments)}]'
            for kind, name, arguments in header.functions if kind == result
        ])
    return "\n".join(lines).rstrip() + "\n"


def main(arguments: list[str]) -> int:
    text = render(Header(HEADER.read_text(encoding="utf-8")))
    if arguments == ["--check"]:
        return 0 if OUTPUT.exists() and OUTPUT.read_text(encoding="utf-8") == text else 1
    if arguments:
        print(__doc__, file=sys.stderr)
        return 64
    OUTPUT.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
