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
    """Generates the answers of several sessions of one model together (batched decoding): the weights are read once for
    all of them.

        together = lyra.Together()
        for session in asked:
            together.add(session)
        while together:
            for session, event in together.step():
                ...  # Progress, Text, Audio, End, or the exception that ended the turn

    A session's numbers are its own, whoever else is there, up to the order of sums. Sessions of any length and with any
    options join when they are added, and leave with End, with an exception, or by ``remove``. For one thread at a time;
    ``stop`` and ``cancel`` of the sessions may be called from any.
    """

    def __init__(self) -> None:
        self._sessions: list[Session] = []
        # What a step made that was not returned, because a KeyboardInterrupt came.
        self._pending: list[tuple[Session, Union[Event, BaseException]]] = []

    def __len__(self) -> int:
        """The number of sessions whose answers are not complete; at least 1 while ``step`` has something to return."""
        return max(len(self._sessions), 1 if self._pending else 0)

    def add(self, session: Session) -> None:
        """Ends the session's turn, as ``Session.answer`` does; ``step`` makes its answer.

        Raises LyraError: STATE if nothing was fed, or if its answer is being made already.
        """
        session._begin_answer()
        self._sessions.append(session)

    def remove(self, session: Session) -> None:
        """Stops the session's answer and keeps what was generated.

        Raises ValueError if the session is not here, LyraError: CLOSED if it is closed; it is removed all the same.
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
        if not self._pending:
            self._step()
        new, self._pending = self._pending, []
        return new

    def _step(self) -> None:
        sessions = list(self._sessions)
        handles = (ctypes.c_void_p * len(sessions))(*(session._open_handle() for session in sessions))
        events, statuses = (ctypes.c_uint32 * len(sessions))(), (ctypes.c_int32 * len(sessions))()
        status = None
        try:
            status = library().lyra_step_many(handles, len(sessions), events, statuses)
        finally:
            # A KeyboardInterrupt comes right after the call, whose results stand.
            message = library().lyra_last_error().decode("utf-8", "replace") if status or any(statuses) else ""
            for index, session in enumerate(sessions):
                self._take(session, events[index], statuses[index], _line(message, index))
        if status != Status.OK and not any(statuses):
            raise LyraError(status, message)

    def _take(self, session: Session, events: int, status: int, message: str) -> None:
        """Keeps what is new of a session."""
        failure = session._failure()
        if events & _abi.EVENT_END or status != Status.OK:
            session._is_answering = False
            self._sessions.remove(session)
        try:
            self._pending += [(session, event) for event in session._news(events)]
            if events & _abi.EVENT_END and status == Status.OK:
                self._pending.append((session, End(session.usage)))
        except LyraError as error:
            failure = failure or error
        if status != Status.OK:
            self._pending.append((session, failure or LyraError(status, message)))


def _line(message: str, index: int) -> str:
    """What follows "session index: " in a message with such lines."""
    for line in message.split("\nsession "):
        number, _, rest = line.removeprefix("session ").partition(": ")
        if number == str(index):
            return rest
    return message
