"""Every word of the world."""

import functools

from . import knowledge as k
from . import scenes, sentences, stories
from .numbers import ORDINALS
from .questions import FAMILIES
from .text import UNKNOWN, spoken

# Typed beside a recording of a statement.
TRANSCRIBE = ("Write down what you hear.", "What do you hear?")
# Before a statement that is to be said again.
REPEAT = ("Repeat: {statement}", "Say: {statement}")


def slotless(pattern: str) -> str:
    """A pattern without its {slots}."""
    while "{" in pattern:
        before, rest = pattern.split("{", 1)
        pattern = before + " " + rest.split("}", 1)[1]
    return pattern


def texts():
    """Texts that contain every word of the world."""
    for family in FAMILIES:
        for exchange in family.exchanges():
            if exchange.is_spoken:
                yield exchange.question
            if exchange.kind != "command":
                yield exchange.answer
    for name, (values, _) in sentences.SLOTS.items():
        yield from values
    yield from map(slotless, sentences.PATTERNS + list(TRANSCRIBE) + list(REPEAT))
    yield from k.PHRASES
    yield from k.PICTURE_PLACES.values()
    for asks, answer, otherwise, _ in scenes.SHAPE_ASKS.values():
        yield from map(slotless, asks + (answer, otherwise))
    for asks, answer in list(scenes.DIGIT_ASKS.values()) + list(scenes.VIDEO_ASKS.values()):
        yield from map(slotless, asks + (answer,))
    for fact, asks in stories.FACTS.values():
        yield slotless(fact)
        for pair in asks:
            yield from map(slotless, pair)
    yield from scenes.DIGIT_COLOURS + ORDINALS
    yield UNKNOWN


@functools.cache
def vocabulary() -> tuple:
    """All words in their spoken form (lower case), sorted."""
    return tuple(sorted({word for text in texts() for word in spoken(text).split()}))


@functools.cache
def written() -> tuple:
    """All words as they are written inside a sentence: names, days, months, letters and I with
    a capital, others without."""
    capitals = set(k.DAYS) | set(k.MONTHS) | set(k.NAMES) | set(k.LETTERS) | {"Nano", "I'm"}
    by_word = {each.lower(): each for each in capitals if each != "A"}
    return tuple(by_word.get(word, word) for word in vocabulary())
