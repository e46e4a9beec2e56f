"""Where the media of a turn stand in its prompt."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Tuple

from . import _abi


class MediaKind(enum.IntEnum):
    """What was fed."""

    SPEECH = 1
    SOUND = 2
    IMAGE = 3
    VIDEO = 4


@dataclass(frozen=True)
class Medium:
    """A medium of a turn's prompt, or a part of a recording whose silence was left out."""

    kind: MediaKind
    #: The place of its first token among the turn's prompt tokens.
    first: int
    tokens: int
    #: Of an image or a video: pairs of frames, rows and columns of tokens, which go row by row from the top left.
    #: Speech and sound have all their tokens in a row, in time.
    grid: Tuple[int, int, int]
    #: Of speech: where in the recording the part begins, seconds.
    start: float
    #: Of speech: how long it is. Its last window is filled up with silence, which its tokens stand for as well.
    seconds: float

    @classmethod
    def _from_c(cls, c: _abi.Media) -> Medium:
        return cls(MediaKind(c.kind), c.first, c.tokens, (c.time, c.height, c.width), c.start, c.seconds)
