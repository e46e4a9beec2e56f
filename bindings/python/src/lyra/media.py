"""Where the media of a turn stand in its prompt."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Tuple

from . import _abi


class MediaKind(enum.IntEnum):
    """The kind of a medium."""

    SPEECH = 1
    SOUND = 2
    IMAGE = 3
    VIDEO = 4


@dataclass(frozen=True)
class Medium:
    """A medium of a turn's prompt. A recording with silence left out becomes several, one for each stretch kept."""

    kind: MediaKind
    #: Index of its first token among the turn's prompt tokens.
    first: int
    tokens: int
    #: Of an image or a video: frame pairs, rows and columns of tokens. The tokens are ordered by frame pair, then
    #: row by row from the top left. Those of speech and sound are ordered by time.
    grid: Tuple[int, int, int]
    #: Of speech: where it begins in the recording, in seconds.
    start: float
    #: Of speech: its duration in seconds, without the silence that pads its last window; the tokens cover both.
    seconds: float

    @classmethod
    def _from_c(cls, c: _abi.Media) -> Medium:
        return cls(MediaKind(c.kind), c.first, c.tokens, (c.time, c.height, c.width), c.start, c.seconds)
