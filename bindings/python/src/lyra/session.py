"""A conversation."""

from __future__ import annotations

import ctypes
import os
from array import array
from types import TracebackType
from typing import TYPE_CHECKING, Any, BinaryIO, Generator, Iterable, Optional, Union

from . import _abi
from ._library import call, initialized
from ._sources import FileReader, Pixels, Samples, untouched_jpeg
from ._values import integer, real
from ._values import text as encoded
from .errors import LyraError, Status
from .events import Audio, End, Event, Phase, Progress, Text, Usage
from .media import Medium

if TYPE_CHECKING:
    from .model import ModelInfo

#: Elements that are read from a queue at a time.
_PIECE = 4096


class Session:
    """A conversation, made by Model.session: feed the user's turn, then iterate over ``answer()``.

    It belongs to one thread at a time; only ``stop`` and ``cancel`` may be called from another. Close it with ``close``
    or ``with``; it may outlive its Model.
    """

    def __init__(self, handle: Optional[int], info: ModelInfo, callbacks: Any):
        """Not for programs: Model.session makes sessions."""
        self._handle = handle
        self._audio_sample_rate = info.audio_sample_rate
        #: The time that a token of speech stands for, seconds; 0 if the model does not hear.
        self.speech_token_seconds = 0.0
        if info.speech_sample_rate > 0 and info.speech_window_tokens > 0:
            window = info.speech_window_samples / info.speech_sample_rate
            self.speech_token_seconds = window / info.speech_window_tokens
        self._callbacks = callbacks  # the library calls them for as long as the session lives
        self._readers: list[FileReader] = []
        self._is_answering = False

    # ---------------------------------------------------------------------------------------------------- feeding

    def feed_text(self, text: str, *, special_tokens: bool = False) -> None:
        """Adds text to the user's turn.

        Args:
            text: What the user says.
            special_tokens: Whether the names of special tokens, such as ``<|im_end|>``, are read as those tokens. Leave
                this False for text that a person typed: it could end the user's turn and speak for the system.

        Raises:
            LyraError: STATE while an answer is being made, ARGUMENT if the text is over 64 MiB.
        """
        data = encoded("text", text)
        self._call("lyra_feed_text_special" if special_tokens else "lyra_feed_text", data, len(data))

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
        if rate is None:
            self._feed_file("audio", source)
            return
        self._feed_samples("audio", source, rate)
        if not more:
            self._call("lyra_feed_audio_end")

    def feed_sound(
        self,
        source: Union[str, os.PathLike[str], bytes, bytearray, BinaryIO, Iterable[float], Any],
        rate: Optional[int] = None,
    ) -> None:
        """Adds sound that is not speech to the user's turn.

        Args:
            source, rate: As feed_audio takes them; one call is one sound.

        Raises:
            LyraError: As feed_audio does; MISSING if the model does not hear sound, MEMORY in a step if it is too long.
            TypeError, ValueError: A source that is none of these.
        """
        if rate is None:
            self._feed_file("sound", source)
        else:
            self._feed_samples("sound", source, rate)

    def feed_image(self, source: Union[str, os.PathLike[str], bytes, bytearray, BinaryIO, Any]) -> None:
        """Adds an image to the user's turn. It is decoded at once, and not needed afterwards.

        Args:
            source: The path of a file (JPEG, PNG, WebP, GIF, BMP, TIFF), a file's ``bytes``, or a binary file object; a
                PIL image, which gives what its file gives (for a JPEG whose pixels PIL has loaded, within 3 of 255); or
                pixels: anything with a buffer of uint8 of shape [height, width, 3], such as a numpy array.

        Raises:
            LyraError: IO, FORMAT, MISSING if the model does not see, MEMORY over the limit of pixels.
            TypeError, ValueError: A source that is none of these, or a PIL image of 32-bit samples.
        """
        file = untouched_jpeg(source)
        pixels = Pixels.of(source, dimensions=3) if file is None else None
        if pixels is None:
            self._feed_file("image", source if file is None else file)
        else:
            self._call("lyra_feed_image_rgb8", pixels.data, pixels.width, pixels.height, 3 * pixels.width)

    def feed_video(
        self,
        source: Union[str, os.PathLike[str], bytes, bytearray, BinaryIO, Any],
        *,
        fps: float = 0,
        max_frames: int = 0,
        with_audio: bool = False,
    ) -> None:
        """Adds a video to the user's turn.

        Args:
            source: The path of a file, which must stay in place until the turn's end; a file's ``bytes``; a binary file
                object; or frames: anything with a buffer of uint8 of shape [frames, height, width, 3], all of which are
                looked at.
            fps: Frames a second that are looked at, 1000 at most; 0: 2.
            max_frames: At most so many, 65,536 at most, evenly over the whole video; 0: 16.
            with_audio: Whether the video's own audio follows its frames as speech.

        Raises:
            LyraError: IO, FORMAT, MISSING if the model does not see or there is no audio, MEMORY over a limit.
            TypeError, ValueError: A source that is none of these.
        """
        pixels = Pixels.of(source, dimensions=4)
        if pixels is not None:
            if fps or max_frames or with_audio:
                raise TypeError("fps, max_frames and with_audio are for files; of frames all are looked at")
            self._call(
                "lyra_feed_video_frames", pixels.data, pixels.count, pixels.width, pixels.height, 3 * pixels.width
            )
            return
        options = initialized(_abi.VideoOptions, "lyra_video_options_init_size")
        options.frames_per_second = real("fps", fps)
        options.max_frames = integer("max_frames", max_frames)
        options.with_audio = 1 if with_audio else 0
        self._feed_file("video", source, ctypes.byref(options))

    def _feed_samples(self, kind: str, source: Any, rate: int) -> None:
        if isinstance(source, (str, os.PathLike, bytes)) or hasattr(source, "read"):
            raise TypeError("a rate is for samples; a file has its own")
        rate = integer("rate", rate, least=1)
        samples = Samples(source)
        self._call(f"lyra_feed_{kind}_pcm", samples.pointer, samples.frames, samples.channels, rate)

    def _feed_file(self, kind: str, source: Any, *options: Any) -> None:
        """A path, a file's bytes, or a file object, by the functions for ``kind``."""
        if isinstance(source, (str, os.PathLike)):
            self._call(f"lyra_feed_{kind}_file", os.fsencode(source), *options)
        elif isinstance(source, (bytes, bytearray)):
            self._call(f"lyra_feed_{kind}_bytes", bytes(source), len(source), *options)
        elif not hasattr(source, "read"):
            raise TypeError("a path, bytes or a binary file object is needed, or samples with their rate, or pixels")
        elif hasattr(source, "seekable") and source.seekable():
            reader = FileReader(source)
            self._readers.append(reader)
            self._call_reading(f"lyra_feed_{kind}_reader", ctypes.byref(reader.struct), *options)
        else:
            data = source.read()
            self._call(f"lyra_feed_{kind}_bytes", data, len(data), *options)

    def set_system_prompt(self, text: str) -> None:
        """Replaces the system prompt, which is plain text. Raises LyraError: STATE once a turn has ended."""
        data = encoded("text", text)
        self._call("lyra_set_system_prompt", data, len(data))

    def set_speak(self, speak: bool) -> None:
        """Turns spoken answers on or off, from the next turn on.

        Raises LyraError: MISSING if the model cannot, STATE while an answer is being made.
        """
        self._call("lyra_set_speak", 1 if speak else 0)

    def reset(self) -> None:
        """Forgets the whole conversation; options and system prompt stay."""
        self._call("lyra_reset")
        self._is_answering = False
        self._forget_closed_readers()

    def work_ahead(self) -> bool:
        """Does one short piece of work on what was fed so far, so that less is left for ``answer()``.

        Between pieces of a microphone's samples (``feed_audio(…, more=True)``): ``while session.work_ahead(): pass``.

        Returns:
            Whether something was done; False: there is nothing to do before more is fed.

        Raises:
            LyraError: STATE if nothing was fed, an answer is being made, or the turn was cancelled or stopped. Any
                other code rolls back what was fed of the turn, and the session remains usable. An exception that a file
                object raised is raised unchanged.
        """
        if self._is_answering:
            raise LyraError(Status.STATE, "an answer is being made: iterate over it to its end")
        events = ctypes.c_uint32()
        self._call_reading("lyra_step", ctypes.byref(events))
        return bool(events.value & _abi.EVENT_PROGRESS)

    # ----------------------------------------------------------------------------------------------------- saving

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes the conversation to a file, which appears under its name when it is complete.

        What was fed of a turn is kept too if ``work_ahead`` has computed all of it: a long recording is then prefilled
        once and asked many times.

        Raises:
            LyraError: STATE while an answer is being made or something fed is not computed yet (typed text and, unless
                the adapter is fixed, recordings of one window are not before ``answer()``; under an extractor no media
                are); IO.
        """
        self._call("lyra_save", os.fsencode(path))

    def restore(self, path: Union[str, os.PathLike[str]]) -> None:
        """Goes on with a conversation that ``save`` wrote, in place of this session's. Options stay, but for the system
        prompt and ``kv_type``, which are the file's.

        Raises:
            LyraError: FORMAT for a damaged file, UNSUPPORTED for another version's, ARGUMENT for another model's,
                MEMORY over a limit of this session, IO, STATE while an answer is being made. The session is then as it
                was.
        """
        self._call("lyra_restore", os.fsencode(path))
        self._forget_closed_readers()

    # -------------------------------------------------------------------------------------------------- answering

    def answer(self) -> Generator[Event, None, None]:
        """Ends the user's turn and makes the answer: Progress, Text and Audio as they come, then End, exactly once.

        Leaving the iteration early stops the turn and keeps what was generated.

        Raises (while iterating):
            LyraError: STATE if nothing was fed; any other code if a step failed. The turn is then rolled back, no End
                comes, and the session remains usable. An exception that a file object raised is raised unchanged.
        """
        self._call("lyra_end_turn")
        ended = False
        self._is_answering = True
        try:
            while not ended:
                events = ctypes.c_uint32()
                try:
                    self._call_reading("lyra_step", ctypes.byref(events))
                finally:
                    # Also a step that failed ended the turn; an interrupt as it returned did not.
                    ended = bool(events.value & _abi.EVENT_END)
                    self._is_answering = not ended
                yield from self._news(events.value)
            yield End(self.usage)
        finally:
            if not ended and self._handle is not None:
                self._is_answering = False
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
        self.stop()  # nobody listens to the speech that one stop would complete
        events = ctypes.c_uint32()
        while not events.value & _abi.EVENT_END:
            try:
                self._call_reading("lyra_step", ctypes.byref(events))
            except LyraError:
                return  # the turn is over all the same, and the caller has gone

    def stop(self) -> None:
        """Ends the turn in progress and keeps what was generated. From any thread.

        The speech of the text so far is still completed, unless this is called a second time.
        """
        self._call("lyra_stop")

    def cancel(self) -> None:
        """Rolls back the turn in progress, or being fed. From any thread.

        A feed or ``work_ahead`` that is running then raises LyraError: STATE. Between two feeds the next one begins a
        fresh turn, without what was fed before; until ``answer()``, ``usage.stop`` is StopReason.CANCELLED.
        """
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

    def media(self) -> list[Medium]:
        """Where the media of the turn, or of the last one, stand in its prompt, as far as they are encoded."""
        found: list[Medium] = []
        c = initialized(_abi.Media, "lyra_media_init_size")
        while True:
            try:
                self._call("lyra_get_media", len(found), ctypes.byref(c))
            except LyraError as error:
                if error.code == Status.ARGUMENT:
                    return found  # there are no more
                raise
            found.append(Medium._from_c(c))

    def kept(self, block: int) -> list[int]:
        """The turn's media tokens that the extractor kept after block ``block``, in their order, by their places
        among its prompt tokens; blocks count from 0, and there are ``usage.extractor_blocks``.

        Raises LyraError: ARGUMENT for a block that was not.
        """
        block = integer("block", block)
        count = ctypes.c_size_t()
        self._call("lyra_get_kept", block, None, 0, ctypes.byref(count))
        tokens = (ctypes.c_int32 * count.value)()
        self._call("lyra_get_kept", block, tokens, count.value, ctypes.byref(count))
        return list(tokens)

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
