"""Checks values before ctypes takes them. ctypes silently truncates integers that are too large, rounds numbers that
are too small for a float to 0, and ends text at its first zero byte."""

from __future__ import annotations

import ctypes
import operator
from typing import Any

from .errors import LyraError, Status

INT32 = 2**31 - 1
INT64 = 2**63 - 1
UINT64 = 2**64 - 1


def integer(name: str, value: Any, most: int = INT32, least: int = 0) -> int:
    """``value`` as an int. Raises TypeError for other types, LyraError: ARGUMENT outside ``least`` to ``most``."""
    try:
        whole = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {_kind(value)}") from None
    if not least <= whole <= most:
        raise LyraError(Status.ARGUMENT, f"{name} is {whole}; it can be {least} to {most}")
    return whole


def real(name: str, value: Any, kind: Any = ctypes.c_float) -> float:
    """``value`` as a float, whose range the library checks. Raises TypeError if it is not a number, and LyraError:
    ARGUMENT if ``kind`` would make it 0, which stands for the default, or cannot hold it."""
    try:
        given = float(value)
    except (TypeError, ValueError):
        raise TypeError(f"{name} must be a number, not {_kind(value)}") from None
    except OverflowError:
        raise LyraError(Status.ARGUMENT, f"{name} is {value}, which is too large") from None
    if given != 0 and kind(given).value == 0:
        raise LyraError(Status.ARGUMENT, f"{name} is {given}, which is too small; 0 is the default")
    return given


def c_text(name: str, value: Any) -> bytes:
    """``value`` in UTF-8, for a C string. Raises LyraError: ARGUMENT if ``value`` contains a zero byte."""
    data = text(name, value)
    if 0 in data:
        raise LyraError(Status.ARGUMENT, f"{name} contains a zero byte; remove it")
    return data


def text(name: str, value: Any) -> bytes:
    """``value`` in UTF-8. Raises TypeError for other types than str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {_kind(value)}")
    return value.encode("utf-8", "replace")


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
