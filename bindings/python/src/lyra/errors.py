"""The exception that a failed call raises."""

from __future__ import annotations

import enum


class Status(enum.IntEnum):
    """The ``lyra_status`` of a call, as in lyra.h."""

    OK = 0
    ARGUMENT = 1
    IO = 2
    FORMAT = 3
    MISSING = 4
    UNSUPPORTED = 5
    MEMORY = 6
    STATE = 7
    CLOSED = 8


class LyraError(Exception):
    """A call that failed. ``str(error)`` says what was wrong, where, and what to do."""

    def __init__(self, code: int, message: str):
        super().__init__(message)
        #: A ``Status``, or a plain number for a status of a library that is newer than this package.
        self.code: int = Status(code) if code in Status._value2member_map_ else code

    def __reduce__(self) -> tuple[type[LyraError], tuple[int, str]]:
        return (LyraError, (int(self.code), str(self)))
