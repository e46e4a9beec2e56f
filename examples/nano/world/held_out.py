"""What training never contains: a function of the text, whatever the seed.

Facts, sums and orders are all trained. Held out are statements (to hear, to repeat, in stories),
combinations of commands, scenes of pictures and videos: those whose text hashes to 0 of 10.
"""

import hashlib

from .text import Exchange, Family, spoken

PART = 10


def is_held_out(text: str) -> bool:
    """Whether SHA-256 of the text's words, as a number, is divisible by 10."""
    digest = hashlib.sha256(spoken(text).encode()).digest()
    return int.from_bytes(digest, "big") % PART == 0


def is_exchange_held_out(family: Family, exchange: Exchange) -> bool:
    if not family.held_by:
        return False
    return is_held_out(getattr(exchange, family.held_by))
