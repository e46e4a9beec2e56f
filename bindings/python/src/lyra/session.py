"""A conversation."""

from __future__ import annotations

import ctypes
import os
from array import array
from types import TracebackType
from typing import Any, BinaryIO, Generator, Iterable, Optional, Union

from . import _abi
from ._library import call, initialized
from ._sources import FileReader, Samples
from .errors import LyraError, Status
from .events import Audio, End, Event, Phase, Progress, Text, Usage

#: Elements that are read from a queue at a time.
_PIECE = 4096


class Session:
    """A conversation, made by Model.session: feed the user's turn, then iterate over ``answer()``.

    It belongs to one thread at a time; only ``stop`` and ``cancel`` may be called from another. Close it with ``close``
    or ``with``; it may outlive its Model.
    """

    def __init__(self, handle: Optional[int], audio_sample_rate: int, callbacks: Any):
        """Not for programs: Model.session makes sessions."""
        self._handle = handle
        self._audio_sample_rate = audio_sample_rate
        self._callbacks = callbacks  # the library calls them for as long as the session lives
        self._readers: list[FileReader] = []

    # ---------------------------------------------------------------------------------------------------- feeding

    def feed_text(self, text: str) -> None:
        """Adds typed text to the user's turn.

        Raises LyraError: STATE while an answer is being made, ARGUMENT if the text is over 64 MiB.
        """
        data = text.encode("utf-8", "replace")
        self._call("lyra_feed_text", data, len(data))

    def feed_audio(
        self,
        source: Union[str, os.PathLike[str], bytes, bytearray, BinaryIO, Iterable[float], Any],
        rate: Optional[int] = None,
        *,
        more: bool = False,
    ) -> None:
        """Adds a recording of speech to the user's turn.

        Args:
            source: One of these, told apart by its type and by ``rate``:

                - the path of a file, which must stay in place until the turn's end;
                - ``bytes``: a file's bytes;
                - a binary file object: it is read, from its start, until the turn's end, if it can seek, else at once;
                - with ``rate``: samples, as numbers in -1…1, or anything with a buffer of float32, float64, int16 or
                  int32 samples such as a numpy array, of shape [frames] or [frames, channels].
            rate: The samples' rate, Hz.
            more: Samples only: the next call goes on with the same recording.

        Raises:
            LyraError: IO, FORMAT, or MISSING if the model does not hear; ARGUMENT for samples that are NaN or infinite
                or a rate or channel count that cannot be; STATE while an answer is being made.
            TypeError, ValueError: A source that is none of these.
        """
        if rate is not None:
            if isinstance(source, (str, os.PathLike, bytes)) or hasattr(source, "read"):
                raise TypeError("a rate is for samples; a file has its own")
            samples = Samples(source)
            self._call("lyra_feed_audio_pcm", samples.pointer, samples.frames, samples.channels, rate)
            if not more:
                self._call("lyra_feed_audio_end")
        elif isinstance(source, (str, os.PathLike)):
            self._call("lyra_feed_audio_file", os.fsencode(source))
        elif isinstance(source, (bytes, bytearray)):
            self._call("lyra_feed_audio_bytes", bytes(source), len(source))
        elif hasattr(source, "read"):
            self._feed_file_object(source)
        else:
            raise TypeError("a path, bytes or a binary file object is needed, or samples with their rate")

    def _feed_file_object(self, file: Any) -> None:
        if not (hasattr(file, "seekable") and file.seekable()):
            data = file.read()
            self._call("lyra_feed_audio_bytes", data, len(data))
            return
        reader = FileReader(file)
        self._readers.append(reader)
        self._call_reading("lyra_feed_audio_reader", ctypes.byref(reader.struct))

    def set_system_prompt(self, text: str) -> None:
        """Replaces the system prompt. Raises LyraError: STATE once a turn has ended."""
        data = text.encode("utf-8", "replace")
        self._call("lyra_set_system_prompt", data, len(data))

    def reset(self) -> None:
        """Forgets the whole conversation; options and system prompt stay."""
        self._call("lyra_reset")
        self._forget_closed_readers()

    # -------------------------------------------------------------------------------------------------- answering

    def answer(self) -> Generator[Event, None, None]:
        """Ends the user's turn and makes the answer: Progress, Text and Audio as they come, then End, exactly once.

        Leaving the iteration early stops the turn, keeping what was said.

        Raises (while iterating):
            LyraError: STATE if nothing was fed; any other code if a step failed. The turn is then taken back, no End
                comes, and the session can be used further. What a file object raised is raised as it is.
        """
        self._call("lyra_end_turn")
        ended = False
        try:
            while not ended:
                events = ctypes.c_uint32()
                try:
                    self._call_reading("lyra_step", ctypes.byref(events))
                except BaseException:
                    # A step that failed ended the turn; an interrupt as it returned did not.
                    ended = bool(events.value & _abi.EVENT_END)
                    raise
                ended = bool(events.value & _abi.EVENT_END)
                yield from self._news(events.value)
            yield End(self.usage)
        finally:
            if not ended and self._handle is not None:
                self._stop_now()

    def _news(self, events: int) -> Generator[Event, None, None]:
        """What a step that set ``events`` brought; a turn's last step may leave text and audio without saying so."""
        if events & _abi.EVENT_PROGRESS:
            yield self.progress
        if events & (_abi.EVENT_TEXT | _abi.EVENT_END):
            text = self._read("lyra_read_text", ctypes.c_char, "b").tobytes().decode("utf-8", "replace")
            if text:
                yield Text(text)
        if events & (_abi.EVENT_AUDIO | _abi.EVENT_END):
            samples = self._read("lyra_read_audio", ctypes.c_float, "f")
            if samples:
                yield Audio(samples, self._audio_sample_rate)

    def _stop_now(self) -> None:
        self.stop()
        events = ctypes.c_uint32()
        while not events.value & _abi.EVENT_END:
            try:
                self._call_reading("lyra_step", ctypes.byref(events))
            except LyraError:
                return  # the turn is over all the same, and the caller has gone

    def stop(self) -> None:
        """Asks the turn in progress to end, keeping what was said; audio not yet given is dropped. From any thread."""
        self._call("lyra_stop")

    def cancel(self) -> None:
        """Asks for the turn in progress, or being fed, to be taken back. From any thread."""
        self._call("lyra_cancel")

    # ---------------------------------------------------------------------------------------------------- reading

    @property
    def progress(self) -> Progress:
        """How far the turn is."""
        c = initialized(_abi.Progress, "lyra_progress_init_size")
        self._call("lyra_get_progress", ctypes.byref(c))
        return Progress(Phase(c.phase), c.done, c.total)

    @property
    def usage(self) -> Usage:
        """What the turn cost so far, or the last turn in all."""
        c = initialized(_abi.Usage, "lyra_usage_init_size")
        self._call("lyra_get_usage", ctypes.byref(c))
        return Usage._from_c(c)

    def read_tokens(self) -> list[int]:
        """The ids of the answer's tokens that were not read yet, the stop token included."""
        return list(self._read("lyra_read_tokens", ctypes.c_int32, "i"))

    def read_units(self) -> list[int]:
        """The answer's speech units that were not read yet."""
        return list(self._read("lyra_read_units", ctypes.c_int32, "i"))

    def _read(self, function: str, element: Any, kind: str) -> array[Any]:
        """Everything in a queue, as an array of type ``kind``, whose elements are as large as ``element``."""
        everything = array(kind)
        piece = (element * _PIECE)()
        count = ctypes.c_size_t()
        while True:
            self._call(function, piece, _PIECE, ctypes.byref(count))
            if count.value == 0:
                return everything
            everything.frombytes(memoryview(piece).cast("B")[: count.value * ctypes.sizeof(element)])

    # ----------------------------------------------------------------------------------------------------- ending

    def close(self) -> None:
        """Ends the conversation. Closing it again does nothing.

        Raises LyraError: STATE while another thread is inside of the session, which then stays open.
        """
        if self._handle is not None:
            call("lyra_session_destroy", self._handle)
            self._handle = None
            self._readers.clear()

    def _call(self, function: str, *arguments: Any) -> None:
        handle = self._handle
        if handle is None:
            raise LyraError(Status.CLOSED, "the session is closed")
        call(function, handle, *arguments)

    def _call_reading(self, function: str, *arguments: Any) -> None:
        """As _call, for functions that read from file objects: what one of them raised goes first."""
        try:
            self._call(function, *arguments)
        except LyraError:
            failures = [failure for reader in self._readers for failure in reader.failure]
            if failures:
                raise failures[0]
            raise
        finally:
            self._forget_closed_readers()

    def _forget_closed_readers(self) -> None:
        # Not from their close function: it would free the very code that it runs in.
        self._readers = [reader for reader in self._readers if not reader.closed]

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self,
        kind: Optional[type[BaseException]],
        error: Optional[BaseException],
        traceback: Optional[TracebackType],
    ) -> None:
        self.close()

    def __del__(self) -> None:
        try:
            self.close()
        except Exception:
            pass  # nobody is left to be told
