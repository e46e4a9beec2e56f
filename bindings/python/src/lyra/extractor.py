"""Options of the extractor, which prunes media tokens inside the language model."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Optional, Tuple, Union

from . import _abi
from ._values import integer, real
from .errors import LyraError, Status


@dataclass(frozen=True)
class Extractor:
    """The extractor of arXiv 2412.09501: after each block of layers but the last, it keeps only the media tokens that
    the text attends to most. Give ``blocks`` or ``gap``, not both.
    """

    #: The share of media tokens kept after each block, above 0 and at most 1; the paper's: 0.8 or 0.7.
    keep: float
    #: The number of blocks that the layers are divided into; the paper's n: 4.
    blocks: Optional[int] = None
    #: The number of layers in a block.
    gap: Optional[int] = None


#: None: as the checkpoint says; "off"; (blocks, keep); or an Extractor.
ExtractorChoice = Union[None, str, Tuple[int, float], Extractor]


def set_extractor(options: _abi.SessionOptions, choice: ExtractorChoice) -> None:
    """Writes ``choice`` into the options. The library checks the ranges."""
    if choice is None:
        return
    if isinstance(choice, str):
        if choice != "off":
            raise _unknown(choice)
        options.extractor = _abi.EXTRACTOR["off"]
        return
    if not isinstance(choice, Extractor):
        try:
            blocks, keep = choice
        except (TypeError, ValueError):
            raise _unknown(choice) from None
        choice = Extractor(keep, blocks=blocks)
    if (choice.blocks is None) == (choice.gap is None):
        raise LyraError(Status.ARGUMENT, "give an Extractor either blocks or gap")
    options.extractor = _abi.EXTRACTOR["on"]
    options.extractor_blocks = integer("blocks", choice.blocks or 0)
    options.extractor_gap = integer("gap", choice.gap or 0)
    options.extractor_keep = real("keep", choice.keep)


def _unknown(choice: object) -> LyraError:
    return LyraError(
        Status.ARGUMENT,
        f'extractor is {choice!r}; it can be None, "off", (blocks, keep) such as (4, 0.7), or an Extractor',
    )
