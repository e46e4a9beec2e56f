"""Checks values before ctypes takes them, which cuts an integer that is too large without a word."""

from __future__ import annotations

import operator
from typing import Any

from .errors import LyraError, Status

INT32 = 2**31 - 1
INT64 = 2**63 - 1
UINT64 = 2**64 - 1


def integer(name: str, value: Any, most: int = INT32, least: int = 0) -> int:
    """``value`` as an int. Raises TypeError for what is none, and LyraError: ARGUMENT outside of ``least`` to ``most``."""
    try:
        whole = operator.index(value)
    except TypeError:
        raise TypeError(f"{name} must be an int, not {_kind(value)}") from None
    if not least <= whole <= most:
        raise LyraError(Status.ARGUMENT, f"{name} is {whole}; it can be {least} to {most}")
    return whole


def text(name: str, value: Any) -> bytes:
    """``value`` in UTF-8. Raises TypeError for what is no str."""
    if not isinstance(value, str):
        raise TypeError(f"{name} must be a str, not {_kind(value)}")
    return value.encode("utf-8", "replace")


def _kind(value: Any) -> str:
    return "None" if value is None else type(value).__name__
