"""Finds liblyra.so and calls its functions; a failed call raises LyraError."""

from __future__ import annotations

import ctypes
import ctypes.util
import functools
import os
from pathlib import Path
from typing import Any

from . import _abi
from .errors import LyraError

#: The major version, which stands for the ABI, as in the SONAME.
_ABI_VERSION = "0"


@functools.lru_cache(maxsize=None)
def library() -> ctypes.CDLL:
    """The library, loaded on first use. Raises OSError if it is not found or is of another ABI."""
    loaded = _load()
    for name, arguments in {**_abi.STATUS_FUNCTIONS, **_abi.STRING_FUNCTIONS}.items():
        function = getattr(loaded, name)
        function.argtypes = arguments
        function.restype = ctypes.c_int32 if name in _abi.STATUS_FUNCTIONS else ctypes.c_char_p
    found = loaded.lyra_version().decode()
    if found.split(".")[0] != _ABI_VERSION:
        raise OSError(
            f"liblyra.so is version {found}, but this package needs {_ABI_VERSION}.x: install such a library, or the "
            f"package of version {found}")
    return loaded


def _load() -> ctypes.CDLL:
    named = os.environ.get("LYRA_LIBRARY")
    if named:
        return ctypes.CDLL(named)
    soname = f"liblyra.so.{_ABI_VERSION}"
    here = Path(__file__).parent
    for file in (here / soname, here / "liblyra.so"):
        if file.exists():
            return ctypes.CDLL(str(file))
    try:
        return ctypes.CDLL(soname)
    except OSError as error:
        found = ctypes.util.find_library("lyra")
        if found:
            return ctypes.CDLL(found)
        raise OSError(
            f"{soname} cannot be loaded ({error}); the search covers the environment variable LYRA_LIBRARY, {here} "
            f"and the system's library path. bindings/c/build.sh builds the library."
        ) from error


def call(name: str, *arguments: Any) -> None:
    """Calls the function ``name``, and raises LyraError if its status is not LYRA_OK."""
    status = getattr(library(), name)(*arguments)
    if status != 0:
        raise LyraError(status, library().lyra_last_error().decode("utf-8", "replace"))


def initialized(struct: type[Any], init: str) -> Any:
    """A new ``struct``, filled with the defaults by the function ``init``."""
    value = struct()
    call(init, ctypes.byref(value), ctypes.sizeof(struct))
    return value


def version() -> str:
    """The library's version, "major.minor.patch"."""
    return library().lyra_version().decode()
