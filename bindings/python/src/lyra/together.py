"""Answers of several sessions that are generated together."""

from __future__ import annotations

import ctypes
from typing import Union

from . import _abi
from ._library import library
from .errors import LyraError, Status
from .events import End, Event
from .session import Session


class Together:
    """Generates the answers of several sessions of one model together: the weights are read once for all of them.

        together = lyra.Together()
        for session in asked:
            together.add(session)
        while together:
            for session, event in together.step():
                ...  # Progress, Text, Audio, End, or the exception that ended the turn

    A session's answer is its own, whoever else is there. Sessions of any length and with any options join when they are
    added, and leave with End, with an exception, or by ``remove``. For one thread at a time; ``stop`` and ``cancel`` of
    the sessions may be called from any.
    """

    def __init__(self) -> None:
        self._sessions: list[Session] = []

    def __len__(self) -> int:
        """The number of sessions whose answers are not complete."""
        return len(self._sessions)

    def add(self, session: Session) -> None:
        """Ends the session's turn, as ``Session.answer`` does; ``step`` makes its answer.

        Raises LyraError: STATE if nothing was fed, or if its answer is being made already.
        """
        session._begin_answer()
        self._sessions.append(session)

    def remove(self, session: Session) -> None:
        """Stops the session's answer and keeps what was generated.

        Raises ValueError if the session is not here.
        """
        self._sessions.remove(session)
        session._leave_answer()

    def step(self) -> list[tuple[Session, Union[Event, BaseException]]]:
        """Gives each session up to one token with its speech, or does a piece of the work before it.

        Returns:
            What is new, each with its session. Instead of End, an exception ends the answer of a session whose step
            failed: its turn is rolled back, and the others are not affected.

        Raises:
            LyraError: ARGUMENT if the sessions' models differ, CLOSED, STATE if a session is in use. No session was
                stepped.
        """
        sessions = list(self._sessions)
        handles = (ctypes.c_void_p * len(sessions))(*(session._open_handle() for session in sessions))
        events, statuses = (ctypes.c_uint32 * len(sessions))(), (ctypes.c_int32 * len(sessions))()
        status = library().lyra_step_many(handles, len(sessions), events, statuses)
        message = library().lyra_last_error().decode("utf-8", "replace") if status != Status.OK else ""
        if status != Status.OK and not any(statuses):
            raise LyraError(status, message)
        new: list[tuple[Session, Union[Event, BaseException]]] = []
        for index, session in enumerate(sessions):
            error = session._failure()
            if statuses[index] != Status.OK:
                self._sessions.remove(session)
                new.append((session, error or LyraError(statuses[index], _line(message, index))))
            new += [(session, event) for event in session._news(events[index])]
            if events[index] & _abi.EVENT_END:
                session._is_answering = False
                if statuses[index] == Status.OK:
                    self._sessions.remove(session)
                    new.append((session, End(session.usage)))
        return new


def _line(message: str, index: int) -> str:
    """What follows "session index: " in a message with such lines."""
    for line in message.split("\nsession "):
        number, _, rest = line.removeprefix("session ").partition(": ")
        if number == str(index):
            return rest
    return message
