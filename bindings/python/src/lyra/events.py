"""The events that Session.answer yields."""

from __future__ import annotations

import enum
from array import array
from dataclasses import dataclass
from typing import Union

from . import _abi


class Phase(enum.IntEnum):
    """What a session is doing."""

    IDLE = 0
    ENCODE = 1
    PREFILL = 2
    ANSWER = 3


class StopReason(enum.IntEnum):
    """Why a turn ended."""

    #: The turn is not over, or there was no turn.
    NONE = 0
    #: The model ended its answer.
    EOS = 1
    #: A limit of tokens or bytes was reached: the generated text is spoken to its end.
    LENGTH = 2
    #: ``Session.stop`` was called: what was generated is kept.
    STOPPED = 3
    #: ``Session.cancel`` was called: the turn was rolled back.
    CANCELLED = 4
    #: A step failed: the turn was rolled back.
    ERROR = 5


@dataclass(frozen=True)
class Progress:
    """How far a turn is.

    ``done`` of ``total`` counts windows of speech, images, videos and sounds in Phase.ENCODE, token-layers (tokens
    times layers) in Phase.PREFILL and tokens in Phase.ANSWER; ``total`` is 0 while it is not known.
    """

    phase: Phase
    done: int
    total: int


@dataclass(frozen=True)
class Text:
    """The next piece of the answer's text."""

    text: str


@dataclass(frozen=True)
class Audio:
    """The next piece of the spoken answer: mono samples in -1…1, an ``array`` of type "f"."""

    samples: array[float]
    #: Hz.
    sample_rate: int


@dataclass(frozen=True)
class Usage:
    """What a turn cost; the counts and times are those of ``lyra_usage`` in lyra.h."""

    stop: StopReason
    prompt_tokens: int
    media_tokens: int
    cached_tokens: int
    generated_tokens: int
    units: int
    audio_samples: int
    encode_ms: float
    prefill_ms: float
    decode_ms: float
    speech_ms: float
    first_token_ms: float
    first_audio_ms: float
    total_ms: float
    #: The adapter in use, or "none".
    adapter: str
    #: How often the extractor pruned tokens of the turn: see Session.kept.
    extractor_blocks: int
    #: Bytes of the conversation's KV caches, now; during a turn, also of the cache pages that only its rollback needs.
    cache_bytes: int

    @classmethod
    def _from_c(cls, c: _abi.Usage) -> Usage:
        values = {name: getattr(c, name) for name, _ in c._fields_ if name != "size"}
        values["stop"] = StopReason(c.stop)
        values["adapter"] = c.adapter.decode("utf-8", "replace")
        return cls(**values)


@dataclass(frozen=True)
class End:
    """The turn is over. The last event, exactly once."""

    usage: Usage


Event = Union[Progress, Text, Audio, End]
