"""An open checkpoint."""

from __future__ import annotations

import ctypes
import os
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Callable, Optional, Union

from . import _abi
from ._library import call, initialized
from ._values import INT64, UINT64, c_text, integer, real
from .errors import LyraError, Status
from .extractor import ExtractorChoice, set_extractor
from .session import Session


def model_path(path: Union[str, bytes, os.PathLike]) -> bytes:
    """A path for the library. Path("./lyra:x") drops the "./" that tells a file from a model inside the library."""
    name = os.fsencode(path)
    return b"./" + name if isinstance(path, os.PathLike) and name.startswith(b"lyra:") else name


@dataclass(frozen=True)
class ModelInfo:
    """Sizes, rates and abilities of a model; the numbers are those of ``lyra_model_info`` in lyra.h."""

    parameters: int
    weight_bytes: int
    layers: int
    hidden_size: int
    vocabulary_size: int
    context_length: int
    #: Whether speech can be fed.
    hears_speech: bool
    #: Whether spoken answers can be made.
    speaks: bool
    speech_sample_rate: int
    speech_window_samples: int
    speech_window_tokens: int
    #: Hz of the spoken answers; 0 if the model does not speak.
    audio_sample_rate: int
    audio_lookahead_samples: int
    #: Whether images and videos can be fed.
    sees: bool
    #: Whether sound other than speech can be fed.
    hears_sound: bool
    #: Side of the square of pixels, in the resized image, that becomes one token; 0 if the model does not see.
    vision_token_pixels: int


class Model:
    """An open checkpoint: immutable, and shared by any number of sessions and threads.

    Close it with ``close`` or ``with``. Its sessions continue to work.
    """

    def __init__(
        self,
        path: Union[str, os.PathLike[str]],
        *,
        towers: Union[str, os.PathLike[str], None] = None,
        vocoder: Union[str, os.PathLike[str], None] = None,
        sound_projector: Union[str, os.PathLike[str], None] = None,
        threads: int = 0,
        precision: str = "default",
        log: Optional[Callable[[str, str], None]] = None,
        progress: Optional[Callable[[int, int], Optional[bool]]] = None,
    ):
        """Opens the checkpoint directory or GGUF file ``path``, or the model inside the library.

        Args:
            path: The directory with config.json and the weights, or a GGUF file; or "lyra:nano", a small model inside
                the library, which raises LyraError: MISSING if the library was built without it.
            towers: A directory that is searched last for towers and vocoder.
            vocoder: The vocoder's file or directory, if it is not beside the towers.
            sound_projector: A file with mm_audio_projector's tensors; the published checkpoints have none.
            threads: Compute threads of the process; above 256 means 256. 0: one for each processor that the process
                may use.
            precision: "exact" (F32 products: the reference's numbers without its rounding); "fast" (rounds to BF16,
                where the reference rounds to FP16, and copies BF16 weights to memory); or "default" (fast for
                quantized weights, else exact).
            log: Called with "info" or "warning" and a message for people, also from sessions. "warning": an answer may
                differ from what is expected (a recording is silent). "info": answers are not affected (a model was
                opened; a turn was cancelled while it was fed).
            progress: Called with the number of items (mostly layers) that are open, and with their total. If it returns
                False, opening is aborted; an exception that it raises is raised here.

        Raises:
            LyraError: IO, FORMAT, MISSING, UNSUPPORTED or MEMORY; ARGUMENT; STATE if ``progress`` returned False.
            OSError: liblyra.so is not found.
        """
        self._handle: Optional[int] = None
        if precision not in _abi.PRECISIONS:
            known = ", ".join(_abi.PRECISIONS)
            raise LyraError(Status.ARGUMENT, f"precision is {precision!r}; it can be {known}")
        failure: list[BaseException] = []

        def on_log(_: Any, level: int, message: bytes) -> None:
            if log is not None:
                log(_abi.LOG_LEVELS.get(level, "warning"), message.decode("utf-8", "replace"))

        def on_progress(_: Any, done: int, total: int) -> int:
            try:
                return 1 if progress is not None and progress(done, total) is False else 0
            except BaseException as error:
                failure.append(error)
                return 1

        # Sessions keep the model's callbacks alive, because they may log too.
        self._callbacks = (_abi.LogCallback(on_log), _abi.OpenCallback(on_progress))
        options = initialized(_abi.ModelOptions, "lyra_model_options_init_size")
        options.towers_dir = None if towers is None else os.fsencode(towers)
        options.vocoder = None if vocoder is None else os.fsencode(vocoder)
        options.sound_projector = None if sound_projector is None else os.fsencode(sound_projector)
        options.threads = integer("threads", threads)
        options.precision = _abi.PRECISIONS[precision]
        if log is not None:
            options.log = self._callbacks[0]
        if progress is not None:
            options.progress = self._callbacks[1]
        handle = ctypes.c_void_p()
        try:
            call("lyra_model_open", model_path(path), ctypes.byref(options), ctypes.byref(handle))
        except LyraError:
            if failure:
                raise failure[0]
            raise
        self._handle = handle.value

    def session(
        self,
        *,
        speak: bool = False,
        sampling: str = "default",
        temperature: Optional[float] = None,
        top_k: int = 0,
        top_p: float = 0,
        min_p: float = 0,
        repetition_penalty: float = 0,
        seed: int = 0,
        max_new_tokens: int = 0,
        max_context_tokens: int = 0,
        adapter: str = "auto",
        system_prompt: Optional[str] = None,
        max_image_pixels: int = 0,
        limit_pixels: int = 0,
        limit_seconds: float = 0,
        extractor: ExtractorChoice = None,
        kv_type: str = "f32",
        skip_silence: bool = False,
        max_memory_bytes: int = 0,
    ) -> Session:
        """Begins a conversation. 0 means the default, except for ``temperature``; lyra.h states the ranges.

        Args:
            speak: Whether answers are spoken as well.
            sampling: "default" (as the checkpoint says), "greedy" or "random".
            temperature: Above 0; 0 is the same as ``sampling="greedy"``.
            top_k: Choose among the k likeliest tokens.
            top_p: Choose among the likeliest tokens whose probabilities together reach this value.
            min_p: Drop tokens less likely than this share of the likeliest token's probability.
            repetition_penalty: Above 0; above 1 discourages tokens that are in the conversation already.
            seed: The same seed and inputs give the same answer; 0: a random seed.
            max_new_tokens: The most tokens of one answer; 0: 1024.
            max_context_tokens: The most tokens of the whole conversation; 0: no limit.
            adapter: "auto", "none" or an adapter's name.
            system_prompt: Replaces "You are a helpful assistant."
            max_image_pixels: Larger images are shrunk to this many pixels before they are encoded.
            limit_pixels: An image, or a video's frame, with more pixels is refused.
            limit_seconds: Longer videos and sounds are refused; speech has no limit.
            extractor: Prunes media tokens inside the language model: an Extractor, or its (blocks, keep), such as
                (4, 0.7); "off"; or None for what the checkpoint says.
            kv_type: How the KV cache stores all but the newest 512 tokens, which stay "f32": "f32", "f16" (half the
                memory; the answers stay the same), "bf16" or "q8" (about a quarter).
            skip_silence: Leaves out windows of speech below -60 dB of full scale, unlike in the model's training.
            max_memory_bytes: Limit for the KV cache, the cache pages that a rollback needs, and queued prompt
                embeddings. A larger allocation raises LyraError: MEMORY, and an answer ends at the limit
                (StopReason.LENGTH).

        Raises:
            LyraError: ARGUMENT for a value out of its range or an unknown adapter; MISSING if ``speak`` is set and the
                model cannot speak.
            TypeError: A value of a wrong type.
        """
        if sampling not in _abi.SAMPLING:
            raise LyraError(Status.ARGUMENT, f"sampling is {sampling!r}; it can be {', '.join(_abi.SAMPLING)}")
        if kv_type not in _abi.KV_TYPES:
            raise LyraError(Status.ARGUMENT, f"kv_type is {kv_type!r}; it can be {', '.join(_abi.KV_TYPES)}")
        options = initialized(_abi.SessionOptions, "lyra_session_options_init_size")
        options.sampling = _abi.SAMPLING["greedy" if temperature == 0 else sampling]
        options.temperature = real("temperature", temperature or 0)
        options.top_k = integer("top_k", top_k)
        options.top_p = real("top_p", top_p)
        options.min_p = real("min_p", min_p)
        options.repetition_penalty = real("repetition_penalty", repetition_penalty)
        options.seed = integer("seed", seed, UINT64)
        options.max_new_tokens = integer("max_new_tokens", max_new_tokens)
        options.max_context_tokens = integer("max_context_tokens", max_context_tokens)
        options.speak = 1 if speak else 0
        options.adapter = c_text("adapter", adapter)
        options.system_prompt = None if system_prompt is None else c_text("system_prompt", system_prompt)
        options.max_image_pixels = integer("max_image_pixels", max_image_pixels, INT64)
        options.limit_pixels = integer("limit_pixels", limit_pixels, INT64)
        options.limit_seconds = real("limit_seconds", limit_seconds, ctypes.c_double)
        set_extractor(options, extractor)
        options.kv_type = _abi.KV_TYPES[kv_type]
        options.skip_silence = 1 if skip_silence else 0
        options.max_memory_bytes = integer("max_memory_bytes", max_memory_bytes, INT64)
        handle = ctypes.c_void_p()
        call("lyra_session_create", self._open_handle(), ctypes.byref(options), ctypes.byref(handle))
        return Session(handle.value, self.info, self._callbacks)

    @property
    def info(self) -> ModelInfo:
        """Sizes, rates and abilities."""
        c = initialized(_abi.ModelInfo, "lyra_model_info_init_size")
        call("lyra_model_get_info", self._open_handle(), ctypes.byref(c))
        values = {name: getattr(c, name) for name, _ in c._fields_ if name != "size"}
        for ability in ("hears_speech", "speaks", "sees", "hears_sound"):
            values[ability] = bool(values[ability])
        return ModelInfo(**values)

    def close(self) -> None:
        """Closes the model. Closing it again does nothing."""
        handle, self._handle = self._handle, None
        if handle is not None:
            call("lyra_model_close", handle)

    def _open_handle(self) -> int:
        if self._handle is None:
            raise LyraError(Status.CLOSED, "the model is closed; open it again")
        return self._handle

    def __enter__(self) -> Model:
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
