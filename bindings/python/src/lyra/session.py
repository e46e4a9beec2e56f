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

#: Elements read from a queue at a time.
_PIECE = 4096


class Session:
    """A conversation, made by Model.session: feed the user's turn, then iterate over ``answer()``.

    It belongs to one thread at a time; only ``stop`` and ``cancel`` may be called from another. Close it with ``close``
    or ``with``; it may outlive its Model.
    """

    def __init__(self, handle: Optional[int], info: ModelInfo, callbacks: Any):
        """Call Model.session instead."""
        self._handle = handle
        self._audio_sample_rate = info.audio_sample_rate
        #: The seconds of speech that one token covers; 0 if the model takes no speech.
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
            text: Any text, at most 64 MiB in UTF-8.
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
                - a binary file object: from its start, read in steps until the turn's end if it can seek, else at once;
                - with ``rate``: samples, as numbers in -1…1, or an object with a buffer of float32, float64, int16 or
                  int32 samples, such as a numpy array, of shape [frames] or [frames, channels].
            rate: The sample rate in Hz.
            more: For samples: the next call continues the same recording.

        Raises:
            LyraError: IO; FORMAT; MISSING if the model takes no speech; ARGUMENT for samples that are NaN or infinite,
                and for a sample rate or number of channels out of range; STATE while an answer is being made.
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
            LyraError: As feed_audio; MISSING if the model takes no sound. ``answer()`` raises MEMORY over
                limit_seconds.
            TypeError, ValueError: A source that is none of these.
        """
        if rate is None:
            self._feed_file("sound", source)
        else:
            self._feed_samples("sound", source, rate)

    def feed_image(self, source: Union[str, os.PathLike[str], bytes, bytearray, BinaryIO, Any]) -> None:
        """Adds an image to the user's turn. It is decoded at once, and not needed afterwards.

        Args:
            source: The path of a file (JPEG, PNG, WebP, GIF, BMP, TIFF); a file's ``bytes``; a binary file object; a
                PIL image, whose pixels are those of its file (within 3 of 255 for a JPEG that PIL has loaded); or
                pixels: an object with a buffer of uint8 of shape [height, width, 3], such as a numpy array.

        Raises:
            LyraError: IO; FORMAT; MISSING if the model takes no images; MEMORY over limit_pixels.
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
                object; or frames, which are all encoded: an object with a buffer of uint8 of shape [frames, height,
                width, 3].
            fps: Frames to encode for each second of the video, at most 1000; 0: 2.
            max_frames: A longer video gives this many frames, evenly spaced; at most 65,536; 0: 16.
            with_audio: Whether the video's own audio follows its frames as speech.

        Raises:
            LyraError: IO; FORMAT; MISSING if the model takes no videos, or if ``with_audio`` is set and the video has
                no audio; MEMORY over a limit.
            TypeError, ValueError: A source that is none of these.
        """
        pixels = Pixels.of(source, dimensions=4)
        if pixels is not None:
            if fps or max_frames or with_audio:
                raise TypeError("fps, max_frames and with_audio are for files; frames are all encoded")
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
            raise TypeError("rate is for samples; a file states its own")
        rate = integer("rate", rate, least=1)
        samples = Samples(source)
        self._call(f"lyra_feed_{kind}_pcm", samples.pointer, samples.frames, samples.channels, rate)

    def _feed_file(self, kind: str, source: Any, *options: Any) -> None:
        """Feeds a path, a file's bytes, or a file object to the functions for ``kind``."""
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

        Raises LyraError: MISSING if the model cannot speak, STATE while an answer is being made.
        """
        self._call("lyra_set_speak", 1 if speak else 0)

    def reset(self) -> None:
        """Discards the whole conversation; options and system prompt stay."""
        self._call("lyra_reset")
        self._is_answering = False
        self._forget_closed_readers()

    def work_ahead(self) -> bool:
        """Does one short piece of work on what was fed so far, so that less is left for ``answer()``.

        With a microphone, run ``while session.work_ahead(): pass`` after each ``feed_audio(…, more=True)``.

        Returns:
            True if work was done, False if there is nothing to do until more is fed.

        Raises:
            LyraError: STATE if nothing was fed, an answer is being made, or the turn was cancelled or stopped. After
                any other error the turn is rolled back, and the session remains usable. An exception of a file object
                is raised unchanged.
        """
        if self._is_answering:
            raise LyraError(Status.STATE, "an answer is being made: iterate over it to its end")
        events = ctypes.c_uint32()
        self._call_reading("lyra_step", ctypes.byref(events))
        return bool(events.value & _abi.EVENT_PROGRESS)

    # ----------------------------------------------------------------------------------------------------- saving

    def save(self, path: Union[str, os.PathLike[str]]) -> None:
        """Writes the conversation to a file; an incomplete file never appears at ``path``.

        A turn that is being fed is saved too if ``work_ahead`` has computed all of it, so a long recording can be
        prefilled once and asked about many times.

        Raises:
            LyraError: IO; STATE while an answer is being made, or if something that was fed is not computed yet.
                ``work_ahead`` can compute all of a turn only if it ends with a recording or a sound, there is no
                extractor, and the adapter can no longer change in this turn: it is fixed, or it is long_speech.
        """
        self._call("lyra_save", os.fsencode(path))

    def restore(self, path: Union[str, os.PathLike[str]]) -> None:
        """Replaces this session's conversation with one that ``save`` wrote. The system prompt and ``kv_type`` come
        from the file; all other options stay.

        Raises:
            LyraError: FORMAT for a damaged file; UNSUPPORTED if another version wrote it; ARGUMENT if it belongs to
                another model; MEMORY over a limit of this session; IO; STATE while an answer is being made. The session
                is then unchanged.
        """
        self._call("lyra_restore", os.fsencode(path))
        self._forget_closed_readers()

    # -------------------------------------------------------------------------------------------------- answering

    def answer(self) -> Generator[Event, None, None]:
        """Ends the user's turn and yields the answer's events: Progress, Text and Audio, then End exactly once.

        Leaving the iteration early stops the turn and keeps what was generated.

        Raises (while iterating):
            LyraError: STATE if nothing was fed; any other code if a step failed. The turn is then rolled back, there is
                no End, and the session remains usable. An exception of a file object is raised unchanged.
        """
        self._begin_answer()
        ended = False
        try:
            while not ended:
                events = ctypes.c_uint32()
                try:
                    self._call_reading("lyra_step", ctypes.byref(events))
                finally:
                    # A failed step has ended the turn too; a KeyboardInterrupt after the call has not.
                    ended = bool(events.value & _abi.EVENT_END)
                    self._is_answering = not ended
                yield from self._news(events.value)
            yield End(self.usage)
        finally:
            if not ended and self._handle is not None:
                self._leave_answer()

    def _begin_answer(self) -> None:
        self._call("lyra_end_turn")
        self._is_answering = True

    def _leave_answer(self) -> None:
        self._is_answering = False
        self._stop_now()

    def _news(self, events: int) -> Generator[Event, None, None]:
        """The events of a step that set ``events``. The last step can add text and audio without setting their bits."""
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
        self.stop()  # the caller would not read the speech that one stop completes
        events = ctypes.c_uint32()
        while not events.value & _abi.EVENT_END:
            try:
                self._call_reading("lyra_step", ctypes.byref(events))
            except LyraError:
                return  # the turn is over, and the caller no longer waits for it

    def stop(self) -> None:
        """Ends the turn in progress and keeps what was generated. From any thread.

        The speech of the text so far is still completed, unless this is called a second time.
        """
        self._call("lyra_stop")

    def cancel(self) -> None:
        """Rolls back the turn in progress, also while it is being fed. From any thread.

        If a feed or ``work_ahead`` is running, it raises LyraError: STATE. If not, the next feed begins a new turn, and
        until ``answer()``, ``usage.stop`` is StopReason.CANCELLED.
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
        """The counts and times of the turn in progress, or of the last turn if none is."""
        c = initialized(_abi.Usage, "lyra_usage_init_size")
        self._call("lyra_get_usage", ctypes.byref(c))
        return Usage._from_c(c)

    def media(self) -> list[Medium]:
        """The encoded media of the turn, or of the last turn, with their places in its prompt."""
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
        """The media tokens that the extractor kept after block ``block`` (from 0, below ``usage.extractor_blocks``):
        their ascending indices among the turn's prompt tokens.

        Raises LyraError: ARGUMENT if there is no such block.
        """
        block = integer("block", block)
        count = ctypes.c_size_t()
        self._call("lyra_get_kept", block, None, 0, ctypes.byref(count))
        tokens = (ctypes.c_int32 * count.value)()
        self._call("lyra_get_kept", block, tokens, count.value, ctypes.byref(count))
        return list(tokens)

    def read_tokens(self) -> list[int]:
        """The unread token ids of the answer, including the stop token."""
        return list(self._read("lyra_read_tokens", ctypes.c_int32, "i"))

    def read_units(self) -> list[int]:
        """The unread speech units of the answer."""
        return list(self._read("lyra_read_units", ctypes.c_int32, "i"))

    def _read(self, function: str, element: Any, kind: str) -> array[Any]:
        """All elements of a queue, as an array of type ``kind``, whose items are as large as ``element``."""
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

        Raises LyraError: STATE while another thread is using the session, which then stays open.
        """
        if self._handle is not None:
            call("lyra_session_destroy", self._handle)
            self._handle = None
            self._readers.clear()

    def _open_handle(self) -> Any:
        if self._handle is None:
            raise LyraError(Status.CLOSED, "the session is closed; begin another with Model.session")
        return self._handle

    def _call(self, function: str, *arguments: Any) -> None:
        call(function, self._open_handle(), *arguments)

    def _failure(self) -> Optional[BaseException]:
        """The exception of a file object in the last call, if there was one."""
        try:
            return next((failure for reader in self._readers for failure in reader.failure), None)
        finally:
            self._forget_closed_readers()

    def _call_reading(self, function: str, *arguments: Any) -> None:
        """As _call, but raises the exception of a file object instead of the LyraError that it caused."""
        try:
            self._call(function, *arguments)
        except LyraError:
            failure = self._failure()
            if failure is not None:
                raise failure
            raise
        finally:
            self._forget_closed_readers()

    def _forget_closed_readers(self) -> None:
        # Not in a reader's close callback, which would free its own code while it runs.
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
            pass  # an exception in __del__ would reach no caller
